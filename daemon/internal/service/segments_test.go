package service

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
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
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
func setFeatures(t *testing.T, ns *netlab.NetNS, link string, on []string, off ...string) (known bool) {
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
func groRig(t *testing.T, from, to *netlab.NetNS, fromLink, toLink string, features ...string) (known bool) {
	t.Helper()
	setFeatures(t, from, fromLink, nil, append(tsoFeatures, featureUSO)...)
	return setFeatures(t, to, toLink, append(features, featureGRO))
}

// segments is one send of three datagrams, the last one shorter.
func segments(t *testing.T, out *net.UDPConn) (payloads []string) {
	t.Helper()
	option(t, out, unix.SOL_UDP, unix.UDP_SEGMENT, 500)
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
	if err := in.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
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

// TestSegmentedSend has the kernel make three datagrams of each send (UDP GSO). The
// gate takes what is sent whole, and the kernel takes it apart for the queue. Without
// a guard it drops segments of packets whose entry has lost a clash.
func TestSegmentedSend(t *testing.T) {
	for name, to := range remotes {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, vocabulary.GuardHold, nil)
			in, out := r.listenRemote(to), r.dial(to)
			sent := append(segments(t, out), segments(t, out)...)
			want(t, in, sent...)
			s := r.done(1)
			if s.Gate.Total.Received != 2 || s.Total.Received != 6 {
				t.Errorf("the queue had %d packets, the gate %+v; want 6 and 2", s.Total.Received, s.Gate)
			}
		})
	}
}

// TestSegmentsOnTheWayIn: a veth passes on what the sender left to be segmented,
// as GRO hands up what it has put together.
func TestSegmentsOnTheWayIn(t *testing.T) {
	r := newRig(t, vocabulary.GuardHold, func(c *config.Config) { c.Rules.Placement = vocabulary.PlacementInput })
	to := netip.AddrPortFrom(testkit.LocalIPv4.Addr(), port)
	in, out := listen(t, r.local, to), dial(t, r.remote, to)
	sent := append(segments(t, out), segments(t, out)...)
	want(t, in, sent...)
	r.done(1)
}

// skipWithoutGRO sends through a link on which the socket's datagrams should come
// together.
func skipWithoutGRO(t *testing.T, in, out *net.UDPConn) {
	t.Helper()
	option(t, in, unix.SOL_UDP, unix.UDP_GRO, 1)
	sent := segments(t, out)
	if text, size := together(t, in); text != strings.Join(sent, "") || size != 500 {
		t.Skipf("without a queue %d bytes came in datagrams of %d: GRO is not at work here (veth has it since Linux 5.13)", len(text), size)
	}
}

// TestGROOnTheWayIn: the kernel takes a packet that GRO has put together apart again
// for the queue, not for the gate. Its parts share one entry.
func TestGROOnTheWayIn(t *testing.T) {
	local, remote := testkit.VethPair(t)
	groRig(t, remote, local, testkit.RemoteLink, testkit.LocalLink)
	to := netip.AddrPortFrom(testkit.LocalIPv4.Addr(), port)
	in := listen(t, local, to)
	skipWithoutGRO(t, in, dial(t, remote, to))
	cfg := testConfig()
	cfg.Rules.Placement, cfg.Guard.Mode, cfg.Analysis = vocabulary.PlacementInput, vocabulary.GuardHold, perFlow(10*time.Millisecond)
	r := &rig{t, vocabulary.GuardHold, local, remote, start(t, local, cfg)}
	out := dial(t, remote, to)
	sent := append(segments(t, out), segments(t, out)...)
	want(t, in, sent...)
	r.done(1)
}

// TestGROOnTheWayThrough is the same for a router, whose GRO puts together what it
// forwards.
func TestGROOnTheWayThrough(t *testing.T) {
	r := newRouter(t, false)
	if !groRig(t, r.client, r.ns, "client0", "left0", featureGROPass) {
		t.Skip("this kernel does not put forwarded UDP packets together")
	}
	in, out := r.sockets()
	skipWithoutGRO(t, in, out)
	d := start(t, r.ns, forwardConfig(vocabulary.GuardHold))
	other := dial(t, r.client, in.LocalAddr().(*net.UDPAddr).AddrPort())
	for _, sent := range append(segments(t, other), segments(t, other)...) {
		if text, _ := together(t, in); text != sent {
			t.Errorf("%d bytes %.10q, want %d of %.10q", len(text), text, len(sent), sent)
		}
	}
	s := d.stop()
	if s.Gate.Total.Received != 2 || s.Total.Received != 6 {
		t.Errorf("the queue had %d packets, the gate %+v; want 6 and 2", s.Total.Received, s.Gate)
	}
	checkClashes(t, vocabulary.GuardHold, &s, 1)
}
