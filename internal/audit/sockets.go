package audit

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

// netlinkSocket is a row of /proc/net/netlink.
type netlinkSocket struct {
	protocol int
	portID   uint32
	groups   uint32 // the first 32, group 1 in bit 0
	inode    uint64
}

// netlinkPath is read through thread-self: /proc/net is that of the process's
// first thread.
const netlinkPath = "proc/thread-self/net/netlink"

// readNetfilterSockets lists the NETLINK_NETFILTER sockets of programs.
func readNetfilterSockets(root fs.FS) ([]netlinkSocket, error) {
	text, err := fs.ReadFile(root, netlinkPath)
	if err != nil {
		return nil, fmt.Errorf("list the netlink sockets: %w", err)
	}
	var sockets []netlinkSocket
	_, rows, _ := strings.Cut(string(text), "\n")
	for line := range strings.Lines(rows) {
		s, err := parseNetlinkSocket(line)
		if err != nil {
			return nil, fmt.Errorf("list the netlink sockets: line %q: %w", strings.TrimSpace(line), err)
		}
		if s.protocol == unix.NETLINK_NETFILTER && s.portID != 0 { // 0 is the kernel's own
			sockets = append(sockets, s)
		}
	}
	return sockets, nil
}

// parseNetlinkSocket reads sk, Eth, Pid, Groups, Rmem, Wmem, Dump, Locks, Drops
// and Inode (netlink_native_seq_show).
func parseNetlinkSocket(line string) (s netlinkSocket, err error) {
	var sk, rmem, wmem, dump, locks, drops string
	_, err = fmt.Sscanf(line, "%s %d %d %x %s %s %s %s %s %d", &sk, &s.protocol, &s.portID, &s.groups, &rmem, &wmem, &dump, &locks, &drops, &s.inode)
	return s, err
}

// holdersTimeout bounds the search through all processes' open files.
const holdersTimeout = 3 * time.Second

// holders finds out who has the queues and who listens.
func (m *Machine) holders(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, holdersTimeout)
	defer cancel()
	sockets, err := readNetfilterSockets(os.DirFS("/"))
	if err != nil {
		return // Events.Listeners.Err has it
	}
	byPort := processesOf(ctx, "/proc", sockets)
	for i := range m.Queues.Value {
		q := &m.Queues.Value[i]
		q.Holder = byPort[q.PortID]
	}
	for i := range m.Events.Listeners.Value {
		l := &m.Events.Listeners.Value[i]
		l.Process = byPort[l.PortID]
	}
}

// processesOf finds the process that has each socket open, by port id. Of the
// processes whose open files are not readable the number may still tell.
func processesOf(ctx context.Context, proc string, sockets []netlinkSocket) map[uint32]*Process {
	ports := map[string]uint32{}
	for _, s := range sockets {
		ports[fmt.Sprintf("socket:[%d]", s.inode)] = s.portID
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
		if found[s.portID] == nil {
			if p := processIn(filepath.Join(proc, strconv.FormatUint(uint64(s.portID), 10))); p != nil {
				p.Guessed = true
				found[s.portID] = p
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
