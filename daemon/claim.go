package main

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// claim makes this process the one that has a table in the network namespace of
// the calling thread, until it ends or closes the result. The claim is an abstract
// socket, which belongs to the namespace and goes with its process, however that
// ends. So a table without a claim was left by a process that was killed.
func claim(table string) (net.Listener, error) {
	l, err := net.Listen("unix", "@verdictd/"+table)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("another verdictd has table inet %s in this network namespace: stop it, or give this one another table and other queues", table)
	}
	if err != nil {
		return nil, fmt.Errorf("claim table inet %s: %w", table, err)
	}
	return l, nil
}
