package flows

import (
	"crypto/tls"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/hello/tlsclient"
	"verdictd/daemon/internal/reassembly"
	"verdictd/internal/packet"
)

func config() Config {
	return Config{
		Flows: 8, QUICKeys: 100_000, DNSPorts: []uint16{53},
		Pending: reassembly.Config{Flows: 4, Bytes: 16 << 10, Packets: 32, Age: int64(5 * time.Second)},
	}
}

func newTable(t testing.TB, edit func(*Config)) *Table {
	t.Helper()
	cfg := config()
	if edit != nil {
		edit(&cfg)
	}
	table, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// ends are those of a flow, from the client.
type ends struct {
	client, server         string
	clientPort, serverPort uint16
}

var web = ends{"192.0.2.1", "198.51.100.2", 40000, 443}

func (e ends) back() ends { return ends{e.server, e.client, e.serverPort, e.clientPort} }

func view(t testing.TB, stack ...gopacket.SerializableLayer) *packet.View {
	t.Helper()
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true}, stack...); err != nil {
		t.Fatal(err)
	}
	v := new(packet.View)
	if err := v.Decode(buffer.Bytes()); err != nil {
		t.Fatal(err)
	}
	return v
}

func (e ends) ip(protocol layers.IPProtocol) gopacket.SerializableLayer {
	from, to := netip.MustParseAddr(e.client), netip.MustParseAddr(e.server)
	if from.Is4() {
		return &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	}
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: protocol, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
}

func (e ends) udp(t testing.TB, data []byte) *packet.View {
	return view(t, e.ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: layers.UDPPort(e.clientPort), DstPort: layers.UDPPort(e.serverPort)}, gopacket.Payload(data))
}

// tcp is a segment; flags are S, A and U, whose last byte is urgent.
func (e ends) tcp(t testing.TB, flags string, seq, ack uint32, data []byte) *packet.View {
	h := &layers.TCP{SrcPort: layers.TCPPort(e.clientPort), DstPort: layers.TCPPort(e.serverPort), Seq: seq, Ack: ack}
	for _, f := range flags {
		h.SYN, h.ACK, h.URG = h.SYN || f == 'S', h.ACK || f == 'A', h.URG || f == 'U'
	}
	if h.URG {
		h.Urgent = uint16(len(data))
	}
	return view(t, e.ip(layers.IPProtocolTCP), h, gopacket.Payload(data))
}

// results gives a packet to the table and returns copies of what it says.
func results(t *Table, v *packet.View, fresh bool, now int64) (list []Result) {
	t.Expire(now)
	t.Begin(v, fresh, now)
	for r, ok := t.Next(); ok; r, ok = t.Next() {
		r.Name, r.ALPN = append([]byte(nil), r.Name...), append([]byte(nil), r.ALPN...)
		list = append(list, r)
	}
	return list
}

// pass also accepts the packet, which has one result.
func pass(t testing.TB, table *Table, v *packet.View, fresh bool) Result {
	t.Helper()
	list := results(table, v, fresh, 0)
	table.Accept()
	if len(list) != 1 {
		t.Fatalf("%d results, want 1: %+v", len(list), list)
	}
	return list[0]
}

func want(t testing.TB, what string, r Result, s names.State, p Protocol, name string) {
	t.Helper()
	if r.State != s || r.Protocol != p || string(r.Name) != name {
		t.Errorf("%s: %v, protocol %d, %q, want %v, %d, %q", what, r.State, r.Protocol, r.Name, s, p, name)
	}
}

// clientHello is what crypto/tls sends first.
func clientHello(t testing.TB, name string) []byte {
	t.Helper()
	b, err := tlsclient.Hello(&tls.Config{ServerName: name, NextProtos: []string{"h2"}})
	if err != nil || len(b) < 1200 {
		t.Fatalf("a hello of %d bytes: %v", len(b), err)
	}
	return b
}

// question is a DNS query over TCP, with its length.
func question(name string) []byte {
	b := []byte{0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for len(name) > 0 {
		label := name
		for i := range name {
			if name[i] == '.' {
				label = name[:i]
				break
			}
		}
		b = append(append(b, byte(len(label))), label...)
		name = name[min(len(name), len(label)+1):]
	}
	b = append(b, 0, 0, 1, 0, 1)
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	return b
}
