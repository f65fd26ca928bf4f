package replay

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"verdictd/daemon/internal/service"
	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

var update = flag.Bool("update", false, "write captures and verdicts of configs/policies")

const policies = "../../../configs/policies"

// client makes the packets of a client, of real stacks: crypto/tls, miekg/dns, and what quic-go was recorded with.
type client struct {
	t       *testing.T
	packets [][]byte
}

func (c *client) says(d Description) { c.packets = append(c.packets, packetsOf(c.t, d)...) }

// bytes has a packet of UDP with a payload.
func (c *client) bytes(flow string, payload []byte) {
	f, err := parseFlow(flow)
	if err != nil {
		c.t.Fatal(err)
	}
	list, err := f.udp(payload)
	if err != nil {
		c.t.Fatal(err)
	}
	c.packets = append(c.packets, list...)
}

// inTwo says hello in two segments.
func (c *client) inTwo(name string) {
	hello := packetsOf(c.t, Description{Flow: "tcp 192.0.2.1:5000 > 198.51.100.1:443", SNI: name})
	first, second := split(c.t, hello[1])
	c.packets = append(c.packets, hello[0], first, second)
}

// inBytes asks for a name over TCP, in segments of one byte.
func (c *client) inBytes(flow, name string) {
	f, err := parseFlow(flow)
	if err != nil {
		c.t.Fatal(err)
	}
	asked, err := question(name, "A", layers.IPProtocolTCP)
	if err != nil {
		c.t.Fatal(err)
	}
	syn, err := f.tcp(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.packets = append(c.packets, syn...)
	for i := range asked {
		segment := &layers.TCP{
			SrcPort: layers.TCPPort(f.from.Port()), DstPort: layers.TCPPort(f.to.Port()), Seq: 1001 + uint32(i), Ack: 5000, ACK: true, Window: 65535,
		}
		b, err := f.packet(segment, asked[i:i+1])
		if err != nil {
			c.t.Fatal(err)
		}
		c.packets = append(c.packets, b)
	}
}

// quic has the datagrams with which a client of quic-go asked for a name.
func (c *client) quic(flow, what string) {
	text, err := os.ReadFile("../names/quic/testdata/initials.json")
	if err != nil {
		c.t.Fatal(err)
	}
	var list []struct {
		What      string
		Datagrams []string
	}
	if err := json.Unmarshal(text, &list); err != nil {
		c.t.Fatal(err)
	}
	for _, one := range list {
		if one.What != what {
			continue
		}
		for _, datagram := range one.Datagrams {
			b, err := hex.DecodeString(datagram)
			if err != nil {
				c.t.Fatal(err)
			}
			c.bytes(flow, b)
		}
		return
	}
	c.t.Fatalf("nothing was recorded of %s", what)
}

// clients are what each example is tried with.
var clients = map[string]func(*client){
	"dns-guard": func(c *client) {
		c.says(Description{Flow: "udp 192.0.2.10:5000 > 192.0.2.53:53", DNS: "example.org", Type: "A"})
		c.says(Description{Flow: "udp 192.0.2.10:5001 > 192.0.2.53:53", DNS: "www.Malware.example", Type: "HTTPS"})
		c.says(Description{Flow: "udp 192.0.2.10:5002 > 198.51.100.53:53", DNS: "example.org", Type: "AAAA"})
		c.says(Description{Flow: "tcp [2001:db8::10]:5003 > [2001:db8::53]:53", DNS: "tracker.example.net", Type: "A"})
		c.inBytes("tcp 192.0.2.10:5006 > 192.0.2.53:53", "malware.example")
		c.says(Description{Flow: "tcp 192.0.2.10:5004 > 192.0.2.53:853"})
		c.bytes("udp 192.0.2.10:5005 > 192.0.2.53:53", []byte("a tunnel, and no question of DNS"))
	},
	"gateway": func(c *client) {
		c.says(Description{Flow: "tcp 192.0.2.10:5000 > 198.51.100.1:443", SNI: "www.example.org"})
		c.says(Description{Flow: "tcp 192.0.2.10:5001 > 198.51.100.1:443", SNI: "other.example"})
		c.inTwo("deep.example.net")
		c.says(Description{Flow: "tcp 192.0.2.10:5002 > 198.51.100.1:80", Host: "example.org"})
		c.says(Description{Flow: "tcp 192.0.2.10:5003 > 198.51.100.1:80", Host: "example.com"})
		c.quic("udp 192.0.2.10:5004 > 198.51.100.1:443", "version 1")
		c.bytes("udp 192.0.2.10:5005 > 198.51.100.1:443", []byte("no QUIC"))
	},
	"egress-allow-list": func(c *client) {
		c.says(Description{Flow: "udp 192.0.2.10:5000 > 192.0.2.53:53", DNS: "proxy.example.org", Type: "A"})
		c.says(Description{Flow: "tcp 192.0.2.10:5001 > 192.0.2.53:53", DNS: "sum.example.org", Type: "A"})
		c.says(Description{Flow: "udp 192.0.2.10:5002 > 192.0.2.53:53", DNS: "exfiltrated.example", Type: "TXT"})
		c.says(Description{Flow: "udp 192.0.2.10:5003 > 198.51.100.53:53", DNS: "proxy.example.org", Type: "A"})
		c.says(Description{Flow: "tcp 192.0.2.10:5004 > 198.51.100.1:443", SNI: "proxy.example.org"})
		c.says(Description{Flow: "tcp 192.0.2.10:5005 > 198.51.100.1:443", SNI: "example.com"})
		c.says(Description{Flow: "tcp 192.0.2.10:5006 > 198.51.100.1:80", Host: "eu.mirror.example.net"})
		c.quic("udp 192.0.2.10:5007 > 198.51.100.1:443", "version 1")
	},
	"audit-only": func(c *client) {
		c.says(Description{Flow: "udp 192.0.2.10:5000 > 192.0.2.53:53", DNS: "malware.example", Type: "A"})
		c.says(Description{Flow: "tcp 192.0.2.10:5001 > 198.51.100.1:443", SNI: "malware.example"})
		c.says(Description{Flow: "tcp 192.0.2.10:5002 > 198.51.100.1:80", Host: "example.org"})
	},
	"verdict3": func(c *client) {
		c.bytes("udp 192.0.2.10:5000 > 192.0.2.20:9", []byte("verdict"))
		c.bytes("udp 192.0.2.10:5001 > 192.0.2.20:9", []byte("another"))
	},
}

// TestExamples: each configuration in configs/policies does with the packets of its capture what its text says. With
// -update the captures and the verdicts are written.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob(policies + "/*.yaml")
	if err != nil || len(files) != len(clients) {
		t.Fatalf("%d configurations, %v, and clients for %d", len(files), err, len(clients))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			capture, verdicts := filepath.Join(policies, "tests", name+".pcap"), filepath.Join(policies, "tests", name+".verdicts")
			if *update {
				c := &client{t: t}
				clients[name](c)
				writeRaw(t, capture, c.packets)
			}
			r := runExample(t, file, capture)
			if *update {
				if err := os.WriteFile(verdicts, []byte(strings.Join(append(r.Lines(), ""), "\n")), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			expected, err := os.ReadFile(verdicts)
			if err != nil {
				t.Fatal(err)
			}
			if d := r.Differences(string(expected)); len(d) > 0 {
				t.Errorf("verdicts are not as %s has them:\n%s", verdicts, strings.Join(d, "\n"))
			}
		})
	}
}

func runExample(t *testing.T, file, capture string) *Result {
	t.Helper()
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	j, err := service.Judgement(cfg)
	if err != nil {
		t.Fatal(err)
	}
	hook := vocabulary.HookOutput
	switch cfg.Rules.Placement {
	case vocabulary.PlacementForward:
		hook = vocabulary.HookForward
	case vocabulary.PlacementVerdict3:
		hook = vocabulary.HookInput
	}
	r, err := Run(&Config{Judgement: j, Capture: capture, Hook: hook})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// writeRaw writes packets a millisecond apart.
func writeRaw(t *testing.T, path string, packets [][]byte) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(1<<16, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		info := gopacket.CaptureInfo{
			Timestamp: time.Unix(1_700_000_000, int64(i)*1e6), CaptureLength: len(p), Length: len(p),
		}
		if err := w.WritePacket(info, slices.Clone(p)); err != nil {
			t.Fatal(err)
		}
	}
}
