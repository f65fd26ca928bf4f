package holders

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfq"
)

// Process is who has a socket open.
type Process struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
	// Guessed: its open files could not be read, and its number is the socket's
	// port id, which the kernel mostly makes so.
	Guessed bool `json:"guessed,omitempty"`
}

func (p *Process) String() string {
	switch {
	case p == nil:
		return "process not readable"
	case p.Guessed:
		return fmt.Sprintf("process %d (%s), by its number", p.PID, p.Name)
	}
	return fmt.Sprintf("process %d (%s)", p.PID, p.Name)
}

// Socket is a NETLINK_NETFILTER socket of a program.
type Socket struct {
	PortID uint32
	Groups uint32 // the first 32, group 1 in bit 0
	Inode  uint64
}

// netlinkPath is read through thread-self: /proc/net is that of the process's
// first thread.
const netlinkPath = "proc/thread-self/net/netlink"

// Sockets lists them, as a root folder's /proc has them.
func Sockets(root fs.FS) ([]Socket, error) {
	text, err := fs.ReadFile(root, netlinkPath)
	if err != nil {
		return nil, fmt.Errorf("list the netlink sockets: %w", err)
	}
	var sockets []Socket
	_, rows, _ := strings.Cut(string(text), "\n")
	for line := range strings.Lines(rows) {
		protocol, s, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("list the netlink sockets: line %q: %w", strings.TrimSpace(line), err)
		}
		if protocol == unix.NETLINK_NETFILTER && s.PortID != 0 { // 0 is the kernel's own
			sockets = append(sockets, s)
		}
	}
	return sockets, nil
}

// parse reads sk, Eth, Pid, Groups, Rmem, Wmem, Dump, Locks, Drops and Inode
// (netlink_native_seq_show).
func parse(line string) (protocol int, s Socket, err error) {
	var sk, rmem, wmem, dump, locks, drops string
	_, err = fmt.Sscanf(line, "%s %d %d %x %s %s %s %s %s %d", &sk, &protocol, &s.PortID, &s.Groups, &rmem, &wmem, &dump, &locks, &drops, &s.Inode)
	return protocol, s, err
}

// timeout bounds the search through all processes' open files.
const timeout = 3 * time.Second

// Find finds the process that has each socket open, by port id, in a few seconds
// at most.
func Find(ctx context.Context, sockets []Socket) map[uint32]*Process {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return find(ctx, "/proc", sockets)
}

// Queues finds the process that holds each queue that is bound; nil where it is not
// readable.
func Queues(ctx context.Context) (map[uint16]*Process, error) {
	bound, err := nfq.ReadKernelQueues()
	if err != nil {
		return nil, err
	}
	sockets, err := Sockets(os.DirFS("/"))
	if err != nil {
		return nil, err
	}
	byPort := Find(ctx, sockets)
	holders := map[uint16]*Process{}
	for _, q := range bound {
		holders[q.Queue] = byPort[q.PortID]
	}
	return holders, nil
}

// find searches a /proc. Of the processes whose open files are not readable the
// number may still tell.
func find(ctx context.Context, proc string, sockets []Socket) map[uint32]*Process {
	ports := map[string]uint32{}
	for _, s := range sockets {
		ports[fmt.Sprintf("socket:[%d]", s.Inode)] = s.PortID
	}
	found := map[uint32]*Process{}
	folders, _ := filepath.Glob(filepath.Join(proc, "[0-9]*")) // the pattern is right
	for _, folder := range folders {
		if len(found) == len(ports) || ctx.Err() != nil {
			break
		}
		files, err := os.ReadDir(filepath.Join(folder, "fd"))
		if err != nil {
			continue // gone, or another user's
		}
		for _, f := range files {
			target, err := os.Readlink(filepath.Join(folder, "fd", f.Name()))
			if port, ok := ports[target]; err == nil && ok && found[port] == nil {
				found[port] = processIn(folder)
			}
		}
	}
	for _, s := range sockets {
		if found[s.PortID] == nil {
			if p := processIn(filepath.Join(proc, strconv.FormatUint(uint64(s.PortID), 10))); p != nil {
				p.Guessed = true
				found[s.PortID] = p
			}
		}
	}
	return found
}

func processIn(folder string) *Process {
	pid, err := strconv.Atoi(filepath.Base(folder))
	if err != nil {
		return nil
	}
	name, err := os.ReadFile(filepath.Join(folder, "comm"))
	if err != nil {
		return nil
	}
	return &Process{PID: pid, Name: strings.TrimSpace(string(name))}
}
