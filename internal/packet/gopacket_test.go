package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"verdictd/internal/testkit"
)

// corpus returns the IP packets in the captures that gopacket is tested with.
func corpus(t testing.TB) [][]byte {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/gopacket").Output()
	if err != nil {
		t.Fatalf("find gopacket's directory: %v", err)
	}
	var packets [][]byte
	err = filepath.WalkDir(strings.TrimSpace(string(out)), func(path string, _ fs.DirEntry, err error) error {
		if ext := filepath.Ext(path); err != nil || ext != ".pcap" && ext != ".pcapng" {
			return err
		}
		read, err := readCapture(path)
		packets = append(packets, read...)
		return err
	})
	if err != nil {
		t.Fatalf("read gopacket's captures: %v", err)
	}
	if len(packets) == 0 {
		t.Fatalf("no IP packets in gopacket's captures under %s", out)
	}
	return packets
}

func readCapture(path string) (packets [][]byte, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var source interface {
		gopacket.PacketDataSource
		LinkType() layers.LinkType
	}
	if filepath.Ext(path) == ".pcap" {
		source, err = pcapgo.NewReader(bytes.NewReader(content))
	} else {
		source, err = pcapgo.NewNgReader(bytes.NewReader(content), pcapgo.DefaultNgReaderOptions)
	}
	if err != nil {
		return nil, nil //nolint:nilerr // some captures are made to be refused
	}
	for {
		data, _, err := source.ReadPacketData()
		if err != nil { // the end, or damage that is there on purpose
			return packets, nil //nolint:nilerr // as above
		}
		p := gopacket.NewPacket(data, source.LinkType(), gopacket.Default)
		if network := p.NetworkLayer(); network != nil {
			packets = append(packets, slices.Concat(network.LayerContents(), network.LayerPayload()))
		}
	}
}

// generate serializes one packet of each shape with gopacket.
func generate(t testing.TB, random *rand.Rand) [][]byte {
	t.Helper()
	payload := gopacket.Payload(make([]byte, random.IntN(64)))
	for i := range payload {
		payload[i] = byte(random.Uint32())
	}
	src, dst := layers.TCPPort(random.Uint32()), layers.TCPPort(random.Uint32())
	uppers := map[layers.IPProtocol]gopacket.SerializableLayer{
		layers.IPProtocolUDP:  &layers.UDP{SrcPort: layers.UDPPort(src), DstPort: layers.UDPPort(dst)},
		layers.IPProtocolTCP:  &layers.TCP{SrcPort: src, DstPort: dst, SYN: true, ECE: true, Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindNop}}},
		layers.IPProtocolSCTP: &layers.SCTP{SrcPort: layers.SCTPPort(src), DstPort: layers.SCTPPort(dst)},
	}
	var packets [][]byte
	build := func(stack ...gopacket.SerializableLayer) {
		buffer := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true}, stack...); err != nil {
			t.Fatalf("serialize: %v", err)
		}
		packets = append(packets, buffer.Bytes())
	}
	ipv4 := func(p layers.IPProtocol) *layers.IPv4 {
		return &layers.IPv4{
			Version: 4, TTL: uint8(random.Uint32()), TOS: uint8(random.Uint32()), Protocol: p,
			SrcIP: src4.AsSlice(), DstIP: dst4.AsSlice(),
		}
	}
	ipv6 := func(p layers.IPProtocol) *layers.IPv6 {
		return &layers.IPv6{
			Version: 6, HopLimit: uint8(random.Uint32()), TrafficClass: uint8(random.Uint32()), FlowLabel: random.Uint32N(1 << 20),
			NextHeader: p, SrcIP: src6.AsSlice(), DstIP: dst6.AsSlice(),
		}
	}
	for protocol, upper := range uppers {
		build(ipv4(protocol), upper, payload)
		options := ipv4(protocol)
		options.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
		build(options, upper, payload)
		part := ipv4(protocol)
		part.Flags, part.FragOffset = layers.IPv4MoreFragments, uint16(random.UintN(1<<13))
		build(part, payload)

		build(ipv6(protocol), upper, payload)
		destination := &layers.IPv6Destination{Options: []*layers.IPv6DestinationOption{{OptionType: 0x1e, OptionData: make([]byte, 4)}}}
		destination.NextHeader = protocol
		build(ipv6(layers.IPProtocolIPv6Destination), destination, upper, payload)
		word := uint16(random.UintN(1<<13))<<3 | 1
		fragment := gopacket.Payload{uint8(protocol), 0, uint8(word >> 8), uint8(word), 0, 0, 0, 7}
		build(ipv6(layers.IPProtocolIPv6Fragment), fragment, payload)
	}
	build(ipv4(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: uint16(src), Seq: 1}, payload)
	build(ipv6(layers.IPProtocolICMPv6), &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(128, 0)}, &layers.ICMPv6Echo{Identifier: uint16(src), SeqNumber: 1}, payload)
	return packets
}

var extensions = gopacket.NewLayerClass([]gopacket.LayerType{
	layers.LayerTypeIPv6HopByHop, layers.LayerTypeIPv6Routing, layers.LayerTypeIPv6Fragment,
	layers.LayerTypeIPv6Destination, layers.LayerTypeIPSecAH,
})

// compare checks every field that both sides read against gopacket's reading
// of b, and returns how many there were. Where gopacket refuses a packet it
// says nothing about it.
func compare(t testing.TB, b []byte) (compared int) {
	t.Helper()
	var v View
	first := layers.LayerTypeIPv4
	if len(b) > 0 && b[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	err := v.Decode(b)
	if first == layers.LayerTypeIPv6 && len(b) > ipv6HeaderLen {
		// gopacket takes the length for that of what follows a hop-by-hop
		// header, and so reads on behind the packet's end.
		if n := int(binary.BigEndian.Uint16(b[4:])); n != 0 {
			b = b[:min(len(b), ipv6HeaderLen+n)]
		}
	}
	p := gopacket.NewPacket(b, first, gopacket.DecodeOptions{NoCopy: true})
	if err != nil {
		if p.ErrorLayer() == nil && p.TransportLayer() != nil && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrTooLong) {
			t.Errorf("refused (%v) what gopacket reads:\n%s", err, p.Dump())
		}
		return 0
	}
	c := comparison{TB: t, v: &v, p: p}
	for _, layer := range p.Layers() {
		if v.Version == 4 && extensions.Contains(layer.LayerType()) {
			break // in IPv4 these are upper protocols
		}
		if len(layer.LayerContents()) == 0 && layer.LayerType() != layers.LayerTypeICMPv6Echo {
			break // refused, and in the list all the same
		}
		if c.network(layer) || c.transport(layer) || c.icmp(layer) {
			break
		}
	}
	return c.compared
}

// comparison is of one packet, layer by layer.
type comparison struct {
	testing.TB
	v        *View
	p        gopacket.Packet
	protocol uint8 // that the last header has named
	compared int
}

func (c *comparison) same(name string, got, want any) {
	c.Helper()
	c.compared++
	if got != want {
		c.Errorf("%s = %v, gopacket says %v:\n%s", name, got, want, c.p.Dump())
	}
}

// network compares an IP header or an extension. It reports the end of what can be
// compared, as transport and icmp do.
func (c *comparison) network(layer gopacket.Layer) (end bool) {
	c.Helper()
	v := c.v
	switch l := layer.(type) {
	case *layers.IPv4:
		if c.compared > 0 {
			return true // a packet inside the packet
		}
		c.same("version", v.Version, l.Version)
		c.same("source", v.Src().String(), l.SrcIP.String())
		c.same("destination", v.Dst().String(), l.DstIP.String())
		c.same("TTL", v.TTL, l.TTL)
		c.same("traffic class", v.TrafficClass, l.TOS)
		c.same("header length", v.HeaderLen, int(l.IHL)*4)
		c.same("protocol", v.Protocol, uint8(l.Protocol))
		c.same("fragment offset", v.FragmentOffset, int(l.FragOffset)*8)
		c.same("more fragments", v.MoreFragments, l.Flags&layers.IPv4MoreFragments != 0)
		c.protocol = uint8(l.Protocol)
	case *layers.IPv6:
		if c.compared > 0 {
			return true
		}
		c.same("version", v.Version, l.Version)
		c.same("source", v.Src().String(), ip6String(l.SrcIP))
		c.same("destination", v.Dst().String(), ip6String(l.DstIP))
		c.same("hop limit", v.TTL, l.HopLimit)
		c.same("traffic class", v.TrafficClass, l.TrafficClass)
		c.same("flow label", v.FlowLabel, l.FlowLabel)
		c.protocol = uint8(l.NextHeader)
	case *layers.IPv6HopByHop:
		c.protocol = uint8(l.NextHeader)
	case *layers.IPv6Routing:
		c.protocol = uint8(l.NextHeader)
	case *layers.IPv6Destination:
		c.protocol = uint8(l.NextHeader)
	case *layers.IPSecAH:
		c.protocol = uint8(l.NextHeader)
	case *layers.IPv6Fragment: // gopacket goes no further
		c.same("fragment offset", v.FragmentOffset, int(l.FragmentOffset)*8)
		c.same("more fragments", v.MoreFragments, l.MoreFragments)
		return true
	case *gopacket.Fragment:
		return true
	}
	return false
}

func (c *comparison) transport(layer gopacket.Layer) (end bool) {
	c.Helper()
	v := c.v
	switch l := layer.(type) {
	case *layers.UDP:
		c.same("protocol", v.Protocol, c.protocol)
		c.same("source port", v.SrcPort, uint16(l.SrcPort))
		c.same("destination port", v.DstPort, uint16(l.DstPort))
		c.same("UDP length", v.UDPLen, l.Length)
	case *layers.UDPLite:
		c.same("source port", v.SrcPort, uint16(l.SrcPort))
		c.same("destination port", v.DstPort, uint16(l.DstPort))
	case *layers.TCP:
		c.same("protocol", v.Protocol, c.protocol)
		c.same("source port", v.SrcPort, uint16(l.SrcPort))
		c.same("destination port", v.DstPort, uint16(l.DstPort))
		c.same("TCP flags", v.TCPFlags, l.Contents[13])
		c.same("payload", string(v.Payload()), string(l.Payload))
	case *layers.SCTP:
		c.same("source port", v.SrcPort, uint16(l.SrcPort))
		c.same("destination port", v.DstPort, uint16(l.DstPort))
		c.same("payload", string(v.Payload()), string(l.Payload))
	default:
		return false
	}
	return true
}

func (c *comparison) icmp(layer gopacket.Layer) (end bool) {
	c.Helper()
	v := c.v
	switch l := layer.(type) {
	case *layers.ICMPv4:
		c.same("ICMP type", v.ICMPType, l.TypeCode.Type())
		c.same("ICMP code", v.ICMPCode, l.TypeCode.Code())
		c.same("ICMP identifier", v.ICMPID, l.Id)
		return true
	case *layers.ICMPv6:
		if len(v.L4()) < icmpHeaderLen {
			return true // gopacket takes 4 bytes for enough
		}
		c.same("protocol", v.Protocol, c.protocol)
		c.same("ICMP type", v.ICMPType, l.TypeCode.Type())
		c.same("ICMP code", v.ICMPCode, l.TypeCode.Code())
	case *layers.ICMPv6Echo:
		c.same("ICMP identifier", v.ICMPID, l.Identifier)
		return true
	}
	return false
}

// ip6String keeps a mapped IPv4 address apart from an IPv4 address.
func ip6String(ip net.IP) string {
	if ip.To4() != nil {
		return "::ffff:" + ip.String()
	}
	return ip.String()
}

func TestAgainstGopacket(t *testing.T) {
	compared := 0
	for _, b := range corpus(t) {
		compared += compare(t, b)
	}
	if compared == 0 {
		t.Error("gopacket read nothing in its own captures")
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		for i, b := range generate(t, random) {
			if compare(t, b) < 8 {
				t.Fatalf("generated packet %d was hardly compared: %x", i, b)
			}
		}
	}
}

func FuzzAgainstGopacket(f *testing.F) {
	for _, b := range slices.Concat(corpus(f), generate(f, rand.New(rand.NewPCG(3, 4))), testkit.Recorded(f, "testdata/packets.txt")) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { compare(t, b) })
}
