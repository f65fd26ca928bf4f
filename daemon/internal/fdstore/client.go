package fdstore

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Names of variables: sd_notify(3), sd_listen_fds(3), and the Server's own.
const (
	variableSocket = "NOTIFY_SOCKET"
	variableSize   = "FDSTORE"
	variablePID    = "LISTEN_PID"
	variableCount  = "LISTEN_FDS"
	variableNames  = "LISTEN_FDNAMES"
	variableKeeper = "VERDICTD_KEEPER"
)

// ErrNoStore says that nobody keeps descriptors for this process.
var ErrNoStore = errors.New("no descriptor store: neither systemd with FileDescriptorStoreMax= nor a keeper of the daemon's own started this process")

// A Client puts descriptors into the store of whoever started this process. It may be
// used by several goroutines at once.
type Client struct {
	fd   int
	size int
}

// Open connects to the store.
//
// Errors: ErrNoStore where there is none.
func Open() (*Client, error) {
	address := os.Getenv(variableSocket)
	if address == "" {
		return nil, ErrNoStore
	}
	size, err := strconv.Atoi(os.Getenv(variableSize))
	if err != nil || size <= 0 {
		return nil, ErrNoStore
	}
	fd, err := connect(address, sendWithin)
	if err != nil {
		return nil, fmt.Errorf("reach the descriptor store: %w", err)
	}
	return &Client{fd: fd, size: size}, nil
}

// sendWithin bounds how long a message waits for a manager that does not read.
const sendWithin = 5 * time.Second

// connect does what package net does not: it sends no descriptors from a datagram
// socket that is connected.
func connect(address string, within time.Duration) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	wait := unix.NsecToTimeval(int64(within))
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: address}) // "@": an abstract one
	}
	if err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// Size is how many descriptors the store takes.
func (c *Client) Size() int { return c.size }

// Keep puts a descriptor into the store, which holds a duplicate. What it holds under
// the name already stays.
func (c *Client) Keep(name string, fd int) error {
	if err := c.send("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, fd); err != nil {
		return fmt.Errorf("put %s into the descriptor store: %w", name, err)
	}
	return nil
}

// Remove has the store close all that it holds under a name.
func (c *Client) Remove(name string) error {
	if err := c.send("FDSTOREREMOVE=1\nFDNAME=" + name); err != nil {
		return fmt.Errorf("take %s out of the descriptor store: %w", name, err)
	}
	return nil
}

// Barrier returns when the store has carried out all that it was told before
// (sd_notify_barrier(3), systemd 246).
func (c *Client) Barrier(within time.Duration) error {
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("wait for the descriptor store: %w", err)
	}
	defer func() { _ = read.Close() }()
	err = c.send("BARRIER=1", int(write.Fd()))
	_ = write.Close()
	if err != nil {
		return fmt.Errorf("wait for the descriptor store: %w", err)
	}
	// The store closes the other end. Nothing is written, so the read waits for that.
	if err := read.SetReadDeadline(time.Now().Add(within)); err != nil {
		return fmt.Errorf("wait for the descriptor store: %w", err)
	}
	if _, err := read.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("wait for the descriptor store: no answer within %v", within)
	}
	return nil
}

// Close disconnects. The store keeps what it has.
func (c *Client) Close() error { return unix.Close(c.fd) }

func (c *Client) send(state string, fds ...int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for {
		err := unix.Sendmsg(c.fd, []byte(state), rights, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// Received are the descriptors that this process began with, by name. They are closed
// in programs that it starts, and the variables that told of them are unset: to be
// called once. Where a name comes twice, the last one counts and the others are closed.
func Received() map[string]*os.File {
	// See the package's documentation: the child of a Server.
	if keeper := os.Getenv(variableKeeper); keeper != "" && keeper == strconv.Itoa(os.Getppid()) {
		_ = os.Setenv(variablePID, strconv.Itoa(os.Getpid()))
	}
	_ = os.Unsetenv(variableKeeper)
	list := map[string]*os.File{}
	for _, f := range activation.Files(true) {
		if twin := list[f.Name()]; twin != nil {
			_ = twin.Close()
		}
		list[f.Name()] = f
	}
	return list
}
