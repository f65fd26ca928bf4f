package replay

import (
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/miekg/dns"
	"golang.org/x/net/idna"

	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/names/hello/tlsclient"
	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// Description is a packet that there is none of, or the first packets of a flow up to the one that has its name.
type Description struct {
	Judgement engine.Judgement
	Hook      vocabulary.Hook
	// Packet is one in hexadecimal digits, from its IP header on. Else Flow is like
	// "udp 192.0.2.1:5000 > 198.51.100.1:53", and one of the others says what it has.
	Packet         string
	Flow           string
	DNS, SNI, Host string
	// Type is the question's, for DNS.
	Type string
	Mark uint32
	// In and Out are names of interfaces, "" without.
	In, Out string
}

// Describe gives the lines of Explain for the last packet.
func Describe(d *Description) (lines []string, err error) {
	packets, err := d.packets()
	if err != nil {
		return nil, err
	}
	// What counts is the last packet; those before it, and what was held, only lead there.
	var r *engine.Replay
	r, err = engine.NewReplay(d.Judgement, func(j *engine.Judged) {
		if int(j.ID) == len(packets) {
			lines = Explain(r, j)
		}
	})
	if err != nil {
		return nil, err
	}
	devices := map[uint32]string{}
	device := func(name string) uint32 {
		if name == "" {
			return 0
		}
		i := uint32(len(devices) + 1)
		devices[i] = name
		return i
	}
	in, out := device(d.In), device(d.Out)
	d.Judgement.Policy.SetDevices(devices)
	now := time.Now()
	for i, payload := range packets {
		q := nfq.Packet{
			ID: uint32(i + 1), Hook: uint8(d.Hook.Number()), Mark: d.Mark, InDev: in, OutDev: out, Payload: payload,
		}
		if err := r.Judge(&q, int64(i+1), now.Unix()); err != nil {
			return nil, err
		}
	}
	return lines, r.End()
}

func (d *Description) packets() ([][]byte, error) {
	if d.Packet != "" {
		b, err := hex.DecodeString(strings.Join(strings.FieldsFunc(d.Packet, func(r rune) bool {
			return r == ' ' || r == ':' || r == '\n'
		}), ""))
		if err != nil {
			return nil, fmt.Errorf("--packet: %w: write hexadecimal digits, from the IP header on", err)
		}
		return [][]byte{b}, nil
	}
	f, err := parseFlow(d.Flow)
	if err != nil {
		return nil, fmt.Errorf("--flow %q: %w: write it like 'udp 192.0.2.1:5000 > 198.51.100.1:53'", d.Flow, err)
	}
	payload, err := d.payload(f.protocol)
	if err != nil {
		return nil, err
	}
	if f.protocol == layers.IPProtocolUDP {
		return f.udp(payload)
	}
	return f.tcp(payload)
}

// payload is what the flow's client says first.
func (d *Description) payload(protocol layers.IPProtocol) ([]byte, error) {
	name := d.DNS + d.SNI + d.Host
	if strings.HasSuffix(name, ".") && d.DNS == "" {
		name = strings.TrimSuffix(name, ".")
	}
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(name, "."))
	if err != nil && name != "." {
		return nil, fmt.Errorf("%q is no name: %w", name, err)
	}
	switch {
	case d.DNS != "":
		return question(ascii, d.Type, protocol)
	case d.SNI != "" && protocol == layers.IPProtocolUDP:
		return nil, errors.New("--sni: QUIC's first packets are not made here: capture some, and give them to verdictd test")
	case d.SNI != "":
		return tlsclient.Hello(&tls.Config{ServerName: ascii, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12})
	case d.Host != "" && protocol == layers.IPProtocolUDP:
		return nil, errors.New("--host: HTTP/1 is over TCP: write --flow 'tcp ...'")
	case d.Host != "":
		return fmt.Appendf(nil, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", ascii), nil
	}
	return nil, nil
}

func question(name, kind string, protocol layers.IPProtocol) ([]byte, error) {
	number, ok := dns.StringToType[strings.ToUpper(kind)]
	if !ok {
		return nil, fmt.Errorf("--type %s: no type of DNS: write A, AAAA, HTTPS, MX or another", kind)
	}
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), number)
	b, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("--dns %s: %w", name, err)
	}
	if protocol == layers.IPProtocolTCP {
		b = append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	}
	return b, nil
}

// described is a flow that was written down.
type described struct {
	protocol layers.IPProtocol
	from, to netip.AddrPort
}

func parseFlow(text string) (f described, err error) {
	words := strings.Fields(text)
	if len(words) != 4 || words[2] != ">" {
		return f, errors.New("it is not a protocol, an end, > and the other end")
	}
	switch words[0] {
	case "udp":
		f.protocol = layers.IPProtocolUDP
	case "tcp":
		f.protocol = layers.IPProtocolTCP
	default:
		return f, fmt.Errorf("%s is neither udp nor tcp (give others as --packet)", words[0])
	}
	if f.from, err = netip.ParseAddrPort(words[1]); err != nil {
		return f, err
	}
	if f.to, err = netip.ParseAddrPort(words[3]); err != nil {
		return f, err
	}
	if f.from.Addr().Is4() != f.to.Addr().Is4() {
		return f, errors.New("its ends are of two families")
	}
	return f, nil
}

func (f *described) udp(payload []byte) ([][]byte, error) {
	b, err := f.packet(&layers.UDP{SrcPort: layers.UDPPort(f.from.Port()), DstPort: layers.UDPPort(f.to.Port())}, payload)
	return [][]byte{b}, err
}

// tcp is the SYN, behind which a stream begins, and then what the client says.
func (f *described) tcp(payload []byte) ([][]byte, error) {
	t := layers.TCP{
		SrcPort: layers.TCPPort(f.from.Port()), DstPort: layers.TCPPort(f.to.Port()), Seq: 1000, SYN: true, Window: 65535,
	}
	syn, err := f.packet(&t, nil)
	if err != nil || payload == nil {
		return [][]byte{syn}, err
	}
	t.SYN, t.ACK, t.PSH, t.Seq, t.Ack = false, true, true, 1001, 5000
	said, err := f.packet(&t, payload)
	return [][]byte{syn, said}, err
}

type transport interface {
	gopacket.SerializableLayer
	SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
}

func (f *described) packet(t transport, payload []byte) ([]byte, error) {
	var network interface {
		gopacket.SerializableLayer
		gopacket.NetworkLayer
	}
	if f.from.Addr().Is4() {
		network = &layers.IPv4{
			Version: 4, TTL: 64, Protocol: f.protocol, SrcIP: f.from.Addr().AsSlice(), DstIP: f.to.Addr().AsSlice(),
		}
	} else {
		network = &layers.IPv6{
			Version: 6, HopLimit: 64, NextHeader: f.protocol, SrcIP: f.from.Addr().AsSlice(), DstIP: f.to.Addr().AsSlice(),
		}
	}
	if err := t.SetNetworkLayerForChecksum(network); err != nil {
		return nil, err
	}
	b := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(b, options, network, t, gopacket.Payload(payload)); err != nil {
		return nil, fmt.Errorf("make the packet: %w", err)
	}
	return slices.Clone(b.Bytes()), nil
}
