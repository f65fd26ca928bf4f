package faults

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
)

// TestMalformedNetlink: a neighbour with CAP_NET_ADMIN in the namespace sends to the daemon's own sockets what the
// kernel never would. It is counted, and packets are judged as before.
func TestMalformedNetlink(t *testing.T) {
	e := twoEnds(t)
	c := childtest.Daemon(t, e.near, guarded)
	e.judges()
	header := func(length uint32, kind uint16) []byte {
		b := make([]byte, 16)
		binary.NativeEndian.PutUint32(b, length)
		binary.NativeEndian.PutUint16(b[4:], kind)
		return b
	}
	const packet, acknowledged, over = unix.NFNL_SUBSYS_QUEUE << 8, unix.NLMSG_ERROR, unix.NLMSG_DONE
	bad := [][]byte{
		{1}, make([]byte, 16), header(8, packet), header(16, packet), header(1<<31, packet),
		append(header(40, packet), make([]byte, 24)...),
		append(header(28, packet), 0, 0, 0, 7, 0xff, 0xff, 0, 1, 0, 0, 0, 0), // an attribute longer than its message
		append(header(28, packet), 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0),       // one shorter than its own header
		append(header(36, acknowledged), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		header(16, acknowledged), header(16, over), header(16, 0xffff),
		make([]byte, 200_000), // longer than any buffer for one
	}
	err := e.near.Do(func() error { return sendAll(e, e.near, bad) })
	if err != nil {
		t.Fatal(err)
	}
	e.judges()
	if s := c.Stop(); s.Total.Malformed == 0 || s.Gate.Total.Malformed == 0 {
		t.Errorf("nothing malformed was counted: %+v, gate %+v", s.Total, s.Gate.Total)
	}
	leavesNothing(t, e.near)
}

// sendAll sends messages to the sockets of all queues.
func sendAll(e *ends, ns *netlab.NetNS, messages [][]byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	for _, q := range queues(e, ns) {
		for range 10 {
			for _, m := range messages {
				if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: q.PortID}); err != nil {
					e.Logf("%d bytes to %d: %v", len(m), q.PortID, err)
				}
			}
		}
	}
	return nil
}

// TestMalformedPackets: what a host can send that is no proper packet of its protocol comes to a queue for all of it.
// What cannot be decoded to its end is dropped and counted.
func TestMalformedPackets(t *testing.T) {
	e := twoEnds(t)
	c := childtest.Daemon(t, e.near, "guard: {mode: hold}\nrules: {placement: input, protocols: [udp, tcp, icmp, gre]}\n")
	err := e.far.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		for _, protocol := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP, unix.IPPROTO_ICMP, unix.IPPROTO_GRE} {
			for size := range 24 {
				for _, fill := range []byte{0, 0xff, 0x41} {
					b := make([]byte, 20+size)
					for i := 20; i < len(b); i++ {
						b[i] = fill
					}
					b[0], b[8], b[9] = 0x45, 64, protocol
					copy(b[12:], []byte{192, 0, 2, 2, 192, 0, 2, 1})
					if err := unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 1}}); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); judged(t, e.near) < 100 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if s := c.Stop(); s.Total.Undecodable == 0 || s.Total.Received != s.Total.Accepted+s.Total.Dropped {
		t.Errorf("%+v; want some that cannot be decoded, and a verdict for each", s.Total)
	}
	leavesNothing(t, e.near)
}
