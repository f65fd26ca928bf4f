package events

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"verdictd/lab/internal/testbed"
)

// An listenerSocket is a socket that listens for conntrack events, as the kernel shows it.
type listenerSocket struct {
	waiting uint64 // bytes in its receive buffer
	drops   uint64
}

// awaitSocket waits until a process listens for events, and is as it should be.
func awaitSocket(ctx context.Context, pid int, right func(listenerSocket) bool) (listenerSocket, error) {
	for deadline := time.Now().Add(testbed.ReadyWithin); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/netlink", pid))
		if err != nil {
			return listenerSocket{}, fmt.Errorf("look for the listener's socket: %w", err)
		}
		socket, found, err := parseSocket(string(text))
		switch {
		case err != nil:
			return listenerSocket{}, err
		case found && right(socket):
			return socket, nil
		case ctx.Err() != nil:
			return listenerSocket{}, context.Cause(ctx)
		case time.Now().After(deadline):
			return listenerSocket{}, fmt.Errorf("the listener is not ready, or has not taken its events, within %v",
				testbed.ReadyWithin)
		}
	}
}

// parseSocket reads /proc/net/netlink: sk, Eth, Pid, Groups, Rmem, Wmem, Dump, Locks, Drops, Inode.
func parseSocket(text string) (s listenerSocket, found bool, err error) {
	const netfilter, newEntries = "12", 1 // NETLINK_NETFILTER; the group NFNLGRP_CONNTRACK_NEW as a bit
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 9 || fields[1] != netfilter {
			continue
		}
		groups, err := strconv.ParseUint(fields[3], 16, 64)
		if err != nil {
			return s, false, fmt.Errorf("read a socket's groups: %w", err)
		}
		if groups&newEntries == 0 {
			continue
		}
		s.waiting, err = strconv.ParseUint(fields[4], 10, 64)
		drops, dropsErr := strconv.ParseUint(fields[8], 10, 64)
		s.drops = drops
		return s, true, errors.Join(err, dropsErr)
	}
	return s, false, nil
}
