package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// namedNetNS is where `ip netns add` keeps namespaces, on today's systems.
const namedNetNS = "/run/netns"

// NetNSName is a network namespace by a name for people and a path for [OpenNetNS].
type NetNSName struct {
	// Name is that of `ip netns`, or "pid 1234 (program)" for one that only processes hold.
	Name string
	Path string
}

// FindNetNS is the namespace of that name (`ip netns`) or, if there is a slash in it, path.
func FindNetNS(nameOrPath string) (NetNSName, error) {
	path := nameOrPath
	if !strings.Contains(nameOrPath, "/") {
		path = filepath.Join(namedNetNS, nameOrPath)
	}
	if _, err := os.Stat(path); err != nil {
		return NetNSName{}, fmt.Errorf("find network namespace %s: %w (want a name that `ip netns list` shows, or a path such as /proc/PID/ns/net)", nameOrPath, err)
	}
	return NetNSName{nameOrPath, path}, nil
}

// ListNetNS lists each namespace once: the calling thread's, named "self"; those of `ip netns`; and those that
// processes are in, by the first of these. It cannot see namespaces that only an open file or a bind mount elsewhere
// holds, nor those of processes that the caller may not inspect (CAP_SYS_PTRACE).
func ListNetNS() ([]NetNSName, error) {
	own, err := namespaceOf("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	seen := map[namespaceID]bool{own: true}
	list := []NetNSName{{"self", "/proc/thread-self/ns/net"}}
	add := func(name, path string) {
		id, err := namespaceOf(path)
		if err != nil || seen[id] {
			return // it is gone, or not the caller's to see
		}
		seen[id] = true
		list = append(list, NetNSName{name, path})
	}
	entries, err := os.ReadDir(namedNetNS)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	for _, e := range entries {
		add(e.Name(), filepath.Join(namedNetNS, e.Name()))
	}
	pids, err := processes()
	if err != nil {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	for _, pid := range pids {
		folder := filepath.Join("/proc", strconv.Itoa(pid))
		program, err := os.ReadFile(filepath.Join(folder, "comm"))
		if err == nil {
			add(fmt.Sprintf("pid %d (%s)", pid, strings.TrimSpace(string(program))), filepath.Join(folder, "ns/net"))
		}
	}
	return list, nil
}

// processes lists the ids of all processes, in their order.
func processes() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// namespaceID is what nsfs knows a namespace by.
type namespaceID struct{ device, inode uint64 }

func namespaceOf(path string) (namespaceID, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return namespaceID{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	var f unix.Statfs_t
	if err := unix.Statfs(path, &f); err != nil {
		return namespaceID{}, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	if f.Type != unix.NSFS_MAGIC {
		return namespaceID{}, &fs.PathError{Op: "statfs", Path: path, Err: errors.New("is no namespace")}
	}
	return namespaceID{s.Dev, s.Ino}, nil
}
