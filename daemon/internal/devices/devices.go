package devices

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A Listener is told the names of all interfaces by their indices. It keeps the map as it
// is.
type Listener interface {
	SetDevices(names map[uint32]string)
}

// Follower knows the interfaces of a network namespace.
type Follower struct {
	log   *slog.Logger
	conn  *netlink.Conn
	close atomic.Bool
	ended chan struct{}

	mutex    sync.Mutex // of what follows
	names    map[uint32]string
	listener Listener
}

// Open begins to follow the interfaces of the calling thread's network namespace. It has
// listed them when it returns.
func Open(log *slog.Logger) (*Follower, error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Groups: unix.RTMGRP_LINK})
	if err != nil {
		return nil, fmt.Errorf("follow interfaces: %w", err)
	}
	f := &Follower{log: log, conn: conn, ended: make(chan struct{})}
	if err := f.list(); err != nil {
		return nil, errors.Join(fmt.Errorf("follow interfaces: %w", err), conn.Close())
	}
	go f.follow()
	return f, nil
}

// Tell has a listener told from now on, in place of the one before. It is told what is
// known before Tell returns.
func (f *Follower) Tell(l Listener) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.listener = l
	f.tell()
}

func (f *Follower) tell() {
	if f.listener != nil {
		f.listener.SetDevices(maps.Clone(f.names))
	}
}

// Close ends it.
func (f *Follower) Close() error {
	f.close.Store(true)
	err := f.conn.Close()
	<-f.ended
	return err
}

// list asks for all interfaces. What the kernel tells of changes meanwhile comes between
// or behind the answers.
func (f *Follower) list() error {
	_, err := f.conn.Send(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request | netlink.Dump},
		Data:   make([]byte, unix.SizeofIfInfomsg),
	})
	if err != nil {
		return fmt.Errorf("list them: %w", err)
	}
	messages, err := f.conn.Receive() // up to the end of the dump
	if err != nil {
		return fmt.Errorf("list them: %w", err)
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	before := f.names
	f.names = map[uint32]string{}
	for _, m := range messages {
		f.take(m)
	}
	if !maps.Equal(before, f.names) {
		f.tell()
	}
	return nil
}

func (f *Follower) follow() {
	defer close(f.ended)
	for {
		messages, err := f.conn.Receive()
		switch {
		case err != nil && f.close.Load():
			return
		case errors.Is(err, unix.ENOBUFS):
			err = f.list()
		}
		if err != nil {
			f.log.Error("interfaces are not followed any more: rules with interface_in and interface_out know those of now; restart the daemon", "error", err)
			return
		}
		f.changed(messages)
	}
}

func (f *Follower) changed(messages []netlink.Message) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	changed := false
	for _, m := range messages {
		changed = f.take(m) || changed
	}
	if changed {
		f.tell()
	}
}

// take reads a message, and reports whether it changed something.
func (f *Follower) take(m netlink.Message) bool {
	if len(m.Data) < unix.SizeofIfInfomsg {
		return false
	}
	// struct ifinfomsg (include/uapi/linux/rtnetlink.h).
	if m.Data[0] != unix.AF_UNSPEC {
		return false // a port of a bridge, whose link goes on to be there
	}
	index := binary.NativeEndian.Uint32(m.Data[4:])
	switch m.Header.Type {
	case unix.RTM_DELLINK:
		_, was := f.names[index]
		delete(f.names, index)
		return was
	case unix.RTM_NEWLINK:
		name := nameOf(m.Data[unix.SizeofIfInfomsg:])
		if name == "" || f.names[index] == name {
			return false
		}
		f.names[index] = name
		return true
	}
	return false
}

// nameOf is IFLA_IFNAME among attributes.
func nameOf(attributes []byte) string {
	d, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return ""
	}
	for d.Next() {
		if d.Type() == unix.IFLA_IFNAME {
			return d.String()
		}
	}
	return ""
}
