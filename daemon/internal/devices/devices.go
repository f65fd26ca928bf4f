package devices

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
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
	told  *netlink.Conn // what changes
	asked *netlink.Conn // what there is
	close atomic.Bool
	ended chan struct{}

	mutex    sync.Mutex // of what follows
	names    map[uint32]string
	listener Listener
}

// Open begins to follow the interfaces of the calling thread's network namespace. It has
// listed them when it returns.
func Open(log *slog.Logger) (*Follower, error) {
	f, err := open(log)
	if err != nil {
		return nil, fmt.Errorf("follow interfaces: %w", err)
	}
	go f.follow()
	return f, nil
}

func open(log *slog.Logger) (*Follower, error) {
	told, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Groups: unix.RTMGRP_LINK})
	if err != nil {
		return nil, err
	}
	asked, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, errors.Join(err, told.Close())
	}
	f := &Follower{log: log, told: told, asked: asked, ended: make(chan struct{})}
	if err := f.list(); err != nil {
		return nil, errors.Join(err, told.Close(), asked.Close())
	}
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
	err := f.told.Close()
	<-f.ended
	return errors.Join(err, f.asked.Close())
}

// list asks for all interfaces. What the kernel tells of changes since is read after it, and
// may be older than the answer: the last of it is not.
func (f *Follower) list() error {
	links, err := f.links()
	if err != nil {
		return fmt.Errorf("list them: %w", err)
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	before := f.names
	f.names = map[uint32]string{}
	for _, m := range links {
		f.take(m)
	}
	if !maps.Equal(before, f.names) {
		f.tell()
	}
	return nil
}

// listings bounds how often the interfaces are listed where they change all the time. What is told of the changes
// mends all but a few of those that were passed over.
const listings = 10

// links are RTM_NEWLINK of all interfaces. Where one came or went meanwhile the kernel may
// have passed over another (NLM_F_DUMP_INTR), and is asked once more.
func (f *Follower) links() (messages []netlink.Message, err error) {
	for range listings {
		messages, err = f.asked.Execute(netlink.Message{
			Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request | netlink.Dump},
			Data:   make([]byte, unix.SizeofIfInfomsg),
		})
		if err != nil || !slices.ContainsFunc(messages, interrupted) {
			break
		}
	}
	return messages, err
}

func interrupted(m netlink.Message) bool { return m.Header.Flags&netlink.DumpInterrupted != 0 }

func (f *Follower) follow() {
	defer close(f.ended)
	for {
		messages, err := f.told.Receive()
		if errors.Is(err, unix.ENOBUFS) {
			if err = f.empty(); err == nil {
				err = f.list()
			}
		}
		if f.close.Load() {
			return
		}
		if err != nil {
			f.log.Error("interfaces are not followed any more: rules with interface_in and interface_out know those of now; restart the daemon", "error", err)
			return
		}
		f.changed(messages)
	}
}

// empty throws away what the kernel told before its buffer was full: it tells that once, and
// drops all else until the buffer was read empty (netlink_overrun, net/netlink/af_netlink.c).
func (f *Follower) empty() error {
	conn, err := f.told.SyscallConn()
	if err != nil {
		return err
	}
	var b [1]byte
	received := conn.Read(func(fd uintptr) bool {
		for err == nil || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) {
			_, _, err = unix.Recvfrom(int(fd), b[:], unix.MSG_DONTWAIT)
		}
		return true
	})
	if errors.Is(err, unix.EAGAIN) {
		err = nil
	}
	return errors.Join(received, err)
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
