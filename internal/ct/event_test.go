package ct

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// setting writes a sysctl of the thread's namespace.
func setting(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_"+name, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// makeEntries makes entries of many kinds, lets them change, and takes them away.
func makeEntries(t *testing.T) {
	t.Helper()
	setting(t, "acct", "1")
	setting(t, "timestamp", "1")
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	client, err := net.Dial("tcp4", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	receiver, sender := udpSocket(t), udpSocket(t)
	if _, err := sender.WriteTo([]byte("there"), receiver.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if _, err := receiver.WriteTo([]byte("and back"), sender.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	sendRaw(t, "ip4:icmp", "127.0.0.1", []byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1})
	sendRaw(t, "ip6:ipv6-icmp", "::1", []byte{128, 0, 0, 0, 0, 1, 0, 1})
	sendRaw(t, "ip4:253", "127.0.0.1", []byte{42})
	sendRaw(t, "ip4:33", "127.0.0.1", []byte{1: 1, 3: 2, 4: 6, 8: 1, 23: 0}) // DCCP
	six, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = six.Close() }()
	if _, err := six.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv6loopback, Port: 9}); err != nil {
		t.Fatal(err)
	}

	table, err := conntrack.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = table.Close() }()
	v4 := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	v6 := []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}
	const confirmed = conntrack.StatusConfirmed // or the kernel refuses it as a change of what cannot be changed
	for i, flow := range []conntrack.Flow{
		conntrack.NewFlow(unix.IPPROTO_UDP, confirmed, v4[0], v4[1], 1, 2, 300, 0x107),
		conntrack.NewFlow(unix.IPPROTO_UDP, confirmed|conntrack.StatusSeenReply|conntrack.StatusAssured, v6[0], v6[1], 1, 2, 300, 0),
		conntrack.NewFlow(unix.IPPROTO_UDPLITE, confirmed, v4[0], v4[1], 1, 2, 300, 0),
	} {
		flow.Zone = uint16(5 * i)
		if err := table.Create(flow); err != nil {
			t.Fatal(err)
		}
	}
	// Both ends have sent a SYN.
	both := conntrack.NewFlow(unix.IPPROTO_TCP, confirmed, v4[0], v4[1], 1, 21, 300, 0)
	both.ProtoInfo.TCP = &conntrack.ProtoInfoTCP{State: 9}
	if err := table.Create(both); err != nil {
		t.Fatal(err)
	}
	makeHelped(t)
	makeDirectional(t)
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
}

// makeHelped makes a flow that a helper reads, where there is an nft that can say so.
func makeHelped(t *testing.T) {
	t.Helper()
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(`table ip helped {
		ct helper reader { type "ftp" protocol tcp; }
		chain output { type filter hook output priority 0; tcp dport 21 ct helper set "reader"; }
	}
`)
	if out, err := nft.CombinedOutput(); err != nil {
		t.Logf("without a helper: %v: %s", err, out)
		return
	}
	server, err := net.Listen("tcp4", "127.0.0.1:21")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	client, err := net.Dial("tcp4", "127.0.0.1:21")
	if err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
}

// makeDirectional makes an entry with a zone for one direction only, and one of GRE, where the program is there that
// can.
func makeDirectional(t *testing.T) {
	t.Helper()
	program, err := exec.LookPath("conntrack")
	if err != nil {
		t.Log("without zones of one direction: conntrack is not installed")
		return
	}
	for _, line := range []string{
		"-I -p udp -s 192.0.2.3 -d 192.0.2.4 --sport 1 --dport 2 -t 300 --orig-zone 3",
		"-I -p gre -s 192.0.2.3 -d 192.0.2.4 --srckey 1 --dstkey 2 -t 300",
		"-I -p sctp -s 192.0.2.3 -d 192.0.2.4 --sport 1 --dport 2 -t 300 --state ESTABLISHED --orig-vtag 1 --reply-vtag 2",
	} {
		if out, err := exec.Command(program, strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("conntrack %s: %v: %s", line, err, out)
		}
	}
}

// messages returns the datagrams of the events that f brings about.
func messages(t *testing.T, f func(*testing.T)) [][]byte {
	t.Helper()
	l := listen(t, ListenConfig{})
	f(t)
	recv := nfnl.NewReceiver(1024, eventLen)
	n, err := recv.Receive(l.socket, false)
	if err != nil || n == recv.Len() {
		t.Fatalf("received %d events: %v", n, err)
	}
	var all [][]byte
	for i := range n {
		b, whole := recv.Datagram(i)
		if !whole {
			t.Fatalf("an event of more than %d bytes", eventLen)
		}
		all = append(all, b)
	}
	return all
}

// TestDecodeEqualsLibrary decodes what this kernel sends, and holds it against the library.
func TestDecodeEqualsLibrary(t *testing.T) {
	testkit.Namespace(t)
	seen := map[EventType]int{}
	var e Event
	for _, b := range messages(t, makeEntries) {
		m, rest, ok := nfnl.Next(b)
		if !ok || len(rest) != 0 {
			t.Fatalf("%x: not one message", b)
		}
		if !e.decode(&m) {
			t.Fatalf("%x: no event", b)
		}
		seen[e.Type]++
		var library netlink.Message
		if err := library.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		var want conntrack.Event
		if err := want.Unmarshal(library); err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		compare(t, &e, &want)
		head := m
		head.Body = head.Body[:min(len(head.Body), headLen-unix.SizeofNlMsghdr)]
		if p, ok := protocolOf(head.Attributes()); !ok || p != e.Orig.Protocol {
			t.Errorf("protocol %v by the first %d bytes, %v, want %v", p, headLen, ok, e.Orig.Protocol)
		}
	}
	if seen[EventNew] < 9 || seen[EventUpdate] == 0 || seen[EventDestroy] < 9 {
		t.Errorf("saw %v, want many of each", seen)
	}
}

func compare(t *testing.T, e *Event, want *conntrack.Event) {
	t.Helper()
	types := map[EventType]string{EventNew: "EventNew", EventUpdate: "EventUpdate", EventDestroy: "EventDestroy"}
	if got := types[e.Type]; got != want.Type.String() {
		t.Errorf("type %v, want %v", e.Type, want.Type)
	}
	f := want.Flow
	for _, d := range []struct {
		name    string
		got     Tuple
		want    conntrack.Tuple
		counter conntrack.Counter
	}{{"orig", e.Orig, f.TupleOrig, f.CountersOrig}, {"reply", e.Reply, f.TupleReply, f.CountersReply}} {
		w := Tuple{
			Src: d.want.IP.SourceAddress, Dst: d.want.IP.DestinationAddress, Protocol: vocabulary.Protocol(d.want.Proto.Protocol),
			SrcPort: d.want.Proto.SourcePort, DstPort: d.want.Proto.DestinationPort,
			ICMPType: d.want.Proto.ICMPType, ICMPCode: d.want.Proto.ICMPCode, ICMPID: d.want.Proto.ICMPID,
			Zone: d.want.Zone, Packets: d.counter.Packets, Bytes: d.counter.Bytes,
		}
		got := d.got
		got.HasPorts, got.HasICMP, got.HasCounts = false, false, false
		if got != w {
			t.Errorf("%s %+v, want %+v", d.name, got, w)
		}
	}
	if e.ID != f.ID || e.Status != uint32(f.Status) || e.Mark != f.Mark || e.Zone != f.Zone || e.Timeout != f.Timeout {
		t.Errorf("decoded %+v, want %+v", e, f)
	}
	if tcp := f.ProtoInfo.TCP; (tcp != nil) != (e.Has&HasTCPState != 0) || tcp != nil && tcp.State != e.State {
		t.Errorf("TCP state %d of %+v, want %+v", e.State, e, tcp)
	}
	if start := f.Timestamp.Start; (e.Has&HasStart != 0) != !start.IsZero() || e.Has&HasStart != 0 && start.UnixNano() != int64(e.Start) {
		t.Errorf("start %d, want %v", e.Start, start)
	}
	if stop := f.Timestamp.Stop; (e.Has&HasStop != 0) != !stop.IsZero() || e.Has&HasStop != 0 && stop.UnixNano() != int64(e.Stop) {
		t.Errorf("stop %d, want %v", e.Stop, stop)
	}
}

// FuzzEvent decodes arbitrary bytes: counting and decoding have to stay inside them, and to agree.
func FuzzEvent(f *testing.F) {
	f.Add(uint16(typeNew), uint16(unix.NLM_F_CREATE), newEvent(netip.MustParseAddr("192.0.2.1"), 7)[unix.SizeofNlMsghdr:])
	f.Add(uint16(typeDelete), uint16(0), newEvent(netip.MustParseAddr("2001:db8::1"), 7)[unix.SizeofNlMsghdr:])
	f.Add(uint16(typeNew), uint16(0), []byte{2, 0, 0, 0, 4, 0, 1, 0x80})
	for _, b := range testkit.Recorded(f, "testdata/events.txt") {
		f.Add(binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]), b[unix.SizeofNlMsghdr:])
	}
	f.Fuzz(func(t *testing.T, typ, flags uint16, body []byte) {
		m := nfnl.Message{Type: typ, Flags: flags, Body: body}
		var e Event
		ok := e.decode(&m)
		var counted tallies
		counted.add(&m)
		if ok && e.Type == 0 {
			t.Error("an event of no type")
		}
		counts := counted.counts()
		if n := counts.Total.New + counts.Total.Update + counts.Total.Destroy + counts.Undecodable; n != 1 {
			t.Errorf("one message was counted %d times", n)
		}
	})
}

// newEvent lays out the message of a new UDP entry.
func newEvent(src netip.Addr, id uint32) []byte {
	var e nfnl.Encoder
	e.Begin(typeNew, unix.AF_INET, 0)
	for _, tuple := range []uint16{ctaTupleOrig, ctaTupleReply} {
		outer := e.BeginNested(tuple)
		ip := e.BeginNested(ctaTupleIP)
		if src.Is4() {
			e.Raw(ctaIPv4Src, src.AsSlice())
			e.Raw(ctaIPv4Dst, src.AsSlice())
		} else {
			e.Raw(ctaIPv6Src, src.AsSlice())
			e.Raw(ctaIPv6Dst, src.AsSlice())
		}
		e.EndNested(ip)
		proto := e.BeginNested(ctaTupleProto)
		e.Raw(ctaProtoNum, []byte{unix.IPPROTO_UDP})
		e.Raw(ctaProtoSrcPort, []byte{0, 1})
		e.Raw(ctaProtoDstPort, []byte{0, 2})
		e.EndNested(proto)
		e.EndNested(outer)
	}
	e.Uint32(ctaID, id)
	e.Uint32(ctaStatus, 0)
	e.End()
	return e.Bytes()
}
