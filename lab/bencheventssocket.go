package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// An eventSocket is a socket that listens for conntrack events, as the kernel shows it.
type eventSocket struct {
	waiting uint64 // bytes in its receive buffer
	drops   uint64
}

// awaitEventSocket waits until a process listens for events, and is as it should be.
func awaitEventSocket(ctx context.Context, pid int, right func(eventSocket) bool) (eventSocket, error) {
	for deadline := time.Now().Add(readyWithin); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/netlink", pid))
		if err != nil {
			return eventSocket{}, fmt.Errorf("look for the listener's socket: %w", err)
		}
		socket, found, err := parseEventSocket(string(text))
		switch {
		case err != nil:
			return eventSocket{}, err
		case found && right(socket):
			return socket, nil
		case ctx.Err() != nil:
			return eventSocket{}, context.Cause(ctx)
		case time.Now().After(deadline):
			return eventSocket{}, fmt.Errorf("the listener is not ready, or has not taken its events, within %v", readyWithin)
		}
	}
}

// parseEventSocket reads /proc/net/netlink: sk, Eth, Pid, Groups, Rmem, Wmem, Dump, Locks, Drops, Inode.
func parseEventSocket(text string) (s eventSocket, found bool, err error) {
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
