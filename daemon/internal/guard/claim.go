package guard

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Claim makes this process the one that has a table in the network namespace of
// the calling thread, until it ends or closes the result. The claim is an abstract
// socket, which belongs to the namespace and goes with its process, however that
// ends. So a table without a claim was left by a process that was killed.
func Claim(table string) (net.Listener, error) {
	l, err := net.Listen("unix", "@verdictd/"+table)
	if errors.Is(err, unix.EADDRINUSE) {
		if uid, ok := holder("@verdictd/" + table); ok && uid != 0 && uid != os.Getuid() {
			// Anybody may bind the name: it counts from whom may have a table only.
			return net.Listen("unix", "@")
		}
		return nil, fmt.Errorf("another verdictd has table inet %s in this network namespace: stop it, or give this one another table and other queues", table)
	}
	if err != nil {
		return nil, fmt.Errorf("claim table inet %s: %w", table, err)
	}
	return l, nil
}

// holder is the user who has a socket of this name.
func holder(name string) (uid int, ok bool) {
	c, err := net.Dial("unix", name)
	if err != nil {
		return 0, false
	}
	defer func() { _ = c.Close() }()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *unix.Ucred
	err = raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || cred == nil {
		return 0, false
	}
	return int(cred.Uid), true
}
