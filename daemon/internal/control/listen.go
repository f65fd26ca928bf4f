package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// ErrInUse says that a living process answers at the path.
var ErrInUse = errors.New("a running daemon has this socket")

// mode of the socket: root's and the daemon's own user's.
const mode = 0o600

// claimWithin bounds the wait for another process that looks at the same path.
const claimWithin = 2 * time.Second

// listener is the socket's. It takes the file away that it has made, and no other: who
// has removed it may have put another one there.
type listener struct {
	net.Listener
	path string
	made os.FileInfo
}

// Close implements net.Listener.
func (l *listener) Close() error {
	err := l.Listener.Close()
	if l.There() {
		err = errors.Join(err, os.Remove(l.path))
	}
	return err
}

// There reports whether the socket is still to be found under its path.
func (l *listener) There() bool {
	info, err := os.Lstat(l.path)
	return err == nil && os.SameFile(info, l.made)
}

// Listen makes the socket. The path's folder is made where it is missing. A socket that
// a process has left is replaced, one behind which a process lives is not: ErrInUse. Nor
// is a file of another kind.
func Listen(ctx context.Context, path string) (_ net.Listener, err error) {
	failed := func(err error) (net.Listener, error) { return nil, fmt.Errorf("listen at %s: %w", path, err) }
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // who is asked is the socket's to say
		return failed(err)
	}
	// Between the look at a socket that nobody has and its removal another process may
	// make its own there.
	// A link would have a file made elsewhere.
	lock := flock.New(path+".lock", flock.SetPermissions(mode), flock.SetFlag(os.O_CREATE|os.O_RDONLY|unix.O_NOFOLLOW))
	waiting, cancel := context.WithTimeout(ctx, claimWithin)
	defer cancel()
	if _, err := lock.TryLockContext(waiting, claimWithin/100); err != nil {
		return failed(fmt.Errorf("lock %s: %w", lock.Path(), err))
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if err := takeAway(path); err != nil {
		return failed(err)
	}
	// The socket has its mode from the first moment on: bind makes the file with that of
	// the descriptor (unix_bind), less the umask.
	restricted := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if ctl := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), mode) }); ctl != nil {
			return ctl
		}
		return err
	}}
	l, err := restricted.Listen(ctx, "unix", path)
	if err != nil {
		return failed(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	info, err := os.Lstat(path)
	if err != nil {
		return failed(errors.Join(err, l.Close()))
	}
	return &listener{l, path, info}, nil
}

// takeAway takes a socket away that nobody has any more.
func takeAway(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("a file that is no socket is there: move it, or choose another path (control.socket)")
	}
	c, err := net.DialTimeout("unix", path, claimWithin)
	if err == nil {
		return errors.Join(fmt.Errorf("%w: give one of them another (control.socket)", ErrInUse), c.Close())
	}
	if !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// peer is the user at a connection's other end.
func peer(c net.Conn) (uid uint32, err error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("%s is no unix socket", c.LocalAddr())
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	ctl := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(ctl, err); err != nil {
		return 0, fmt.Errorf("who asks: %w", err)
	}
	return cred.Uid, nil
}
