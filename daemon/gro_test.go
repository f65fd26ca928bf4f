package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/kernel"
	"verdictd/internal/kernel/kerneltest"
)

// Names of offloads, as `ethtool -k` has them with their first words.
const (
	featureGRO     = "rx-gro"
	featureGROPass = "rx-udp-gro-forwarding" // Linux 5.12
	featureUSO     = "tx-udp-segmentation"
)

// tsoFeatures are those that keep a veth from running its peer's GRO
// (veth_skb_is_eligible_for_gro: NETIF_F_ALL_TSO).
var tsoFeatures = []string{"tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation", "tx-tcp6-segmentation", "tx-tcp-accecn-segmentation"}

// ethtool makes one call about a link of the thread's namespace.
func ethtool(t *testing.T, link string, request []byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	var r struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(r.name[:], link)
	var pin runtime.Pinner
	pin.Pin(&request[0])
	defer pin.Unpin()
	r.data = unsafe.Pointer(&request[0])
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r))); errno != 0 {
		t.Fatalf("ethtool, command %#x for %s: %v", binary.NativeEndian.Uint32(request), link, errno)
	}
}

// setFeatures switches offloads of a link on or off. It is false where the kernel
// does not know one that shall be on.
func setFeatures(t *testing.T, ns *kernel.NetNS, link string, on []string, off ...string) (known bool) {
	t.Helper()
	known = true
	if err := ns.Do(func() error {
		word := func(values ...uint32) (b []byte) {
			for _, v := range values {
				b = binary.NativeEndian.AppendUint32(b, v)
			}
			return b
		}
		const nameLength, setOfFeatures = 32, 4 // ETH_GSTRING_LEN, ETH_SS_FEATURES
		info := append(word(unix.ETHTOOL_GSSET_INFO, 0, 1<<setOfFeatures, 0), make([]byte, 4)...)
		ethtool(t, link, info)
		count := binary.NativeEndian.Uint32(info[16:])
		names := append(word(unix.ETHTOOL_GSTRINGS, setOfFeatures, count), make([]byte, count*nameLength)...)
		ethtool(t, link, names)
		set := append(word(unix.ETHTOOL_SFEATURES, (count+31)/32), make([]byte, 8*((count+31)/32))...)
		for wanted, list := range map[bool][]string{true: on, false: off} {
			for _, feature := range list {
				found := false
				for i := range int(count) {
					if unix.ByteSliceToString(names[12+i*nameLength:][:nameLength]) != feature {
						continue
					}
					found = true
					set[8+i/32*8+i%32/8] |= 1 << (i % 8) // valid
					if wanted {
						set[8+i/32*8+4+i%32/8] |= 1 << (i % 8)
					}
				}
				known = known && (found || !wanted)
			}
		}
		ethtool(t, link, set)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return known
}

// groRig has what a peer sends in one go arrive in one packet: the peer's link
// segments it, so that all segments are there when this one's GRO runs.
func groRig(t *testing.T, from, to *kernel.NetNS, fromLink, toLink string, features ...string) (known bool) {
	t.Helper()
	setFeatures(t, from, fromLink, nil, append(tsoFeatures, featureUSO)...)
	return setFeatures(t, to, toLink, append(features, featureGRO))
}

// segments is one send of three datagrams, the last one shorter.
func segments(t *testing.T, out *net.UDPConn) (payloads []string) {
	t.Helper()
	option(t, out, unix.SOL_UDP, unix.UDP_SEGMENT, 500, true)
	payloads = []string{strings.Repeat("a", 500), strings.Repeat("b", 500), "c"}
	if _, err := out.Write([]byte(strings.Join(payloads, ""))); err != nil {
		t.Fatal(err)
	}
	return payloads
}

// together receives datagrams that were put together, of the given size each (0:
// was not).
func together(t *testing.T, in *net.UDPConn) (text string, size int) {
	t.Helper()
	if err := in.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b, control := make([]byte, 65536), make([]byte, 200)
	n, m, _, _, err := in.ReadMsgUDPAddrPort(b, control)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:m])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_UDP && m.Header.Type == unix.UDP_GRO {
			size = int(binary.NativeEndian.Uint16(m.Data))
		}
	}
	return string(b[:n]), size
}

// TestGROOnTheWayIn: the kernel takes a packet that GRO has put together apart again
// for the queue. Its parts share one entry.
func TestGROOnTheWayIn(t *testing.T) {
	for _, entries := range []bool{true, false} {
		local, remote := kerneltest.VethPair(t)
		groRig(t, remote, local, kerneltest.RemoteLink, kerneltest.LocalLink)
		to := netip.AddrPortFrom(kerneltest.LocalIPv4.Addr(), port)
		in, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(to))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = in.Close() }()
		option(t, in, unix.SOL_UDP, unix.UDP_GRO, 1, true)
		dial := func() (out *net.UDPConn) {
			if err := remote.Do(func() (err error) { out, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to)); return err }); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = out.Close() })
			return out
		}
		sent := segments(t, dial())
		if text, size := together(t, in); text != strings.Join(sent, "") || size != 500 {
			t.Skipf("without a queue %d bytes came in datagrams of %d: GRO is not at work here (veth has it since Linux 5.13)", len(text), size)
		}

		cfg := testConfig()
		cfg.Rules.Placement, cfg.Guard.EntryQueues = config.PlacementInput, entries
		cfg.Analysis = config.Analysis{Distribution: config.DistributionFixed, Delay: 3 * time.Millisecond, Per: config.PerFlow}
		r := &copyRig{t, local, remote, start(t, local, cfg)}
		r.want(in, segments(t, dial())...)
		r.done(2)
	}
}

// TestGROOnTheWayThrough is the same for a router, whose GRO puts together what it
// forwards.
func TestGROOnTheWayThrough(t *testing.T) {
	r := newRouter(t, false)
	if !groRig(t, r.client, r.ns, "client0", "left0", featureGROPass) {
		t.Skip("this kernel does not put forwarded UDP packets together")
	}
	cfg := forwardConfig()
	in, out := r.sockets()
	option(t, in, unix.SOL_UDP, unix.UDP_GRO, 1, true)
	sent := segments(t, out)
	if text, size := together(t, in); text != strings.Join(sent, "") || size != 500 {
		t.Skipf("without a queue %d bytes came in datagrams of %d: GRO is not at work here (veth has it since Linux 5.13)", len(text), size)
	}
	d := start(t, r.ns, cfg)
	var other *net.UDPConn
	if err := r.client.Do(func() (err error) {
		other, err = net.DialUDP("udp", nil, in.LocalAddr().(*net.UDPAddr))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	for _, want := range segments(t, other) {
		if text, _ := together(t, in); text != want {
			t.Errorf("%d bytes %.10q, want %d of %.10q", len(text), text, len(want), want)
		}
	}
	if c := d.stop().Total.Counters; c.Received != 3 || c.Reinjected != 2 || c.ReinjectFailed != 0 {
		t.Errorf("counters: %+v; want two of three parts to be sent anew", c)
	}
	if n := clashes(t); n != 0 {
		t.Errorf("%d clashes", n)
	}
}
