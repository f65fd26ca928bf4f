package replay

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/service"
	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

const text = `
policy:
  default: accept
  rules:
    - name: blocked
      action: drop
      dns: {names: [example.org]}
    - name: no plain http
      action: reject
      http: {names: [example.com]}
    - name: limited
      action: drop
      protocols: [udp]
      destination_ports: ["9"]
      limit: {rate: 1/s, burst: 1}
    - name: by interface
      action: drop
      interface_out: ["lab*"]
      destination_ports: ["10"]
    - name: never
      action: drop
      source: [203.0.113.0/24]
`

func judgement(t *testing.T, text string) engine.Judgement {
	t.Helper()
	cfg, err := config.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	j, err := service.Judgement(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// packetsOf makes what a flow's client sends.
func packetsOf(t *testing.T, d Description) [][]byte {
	t.Helper()
	list, err := d.packets()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// sample is what all captures of the tests have.
func sample(t *testing.T) (packets [][]byte) {
	for _, d := range []Description{
		{Flow: "udp 192.0.2.1:5000 > 198.51.100.1:53", DNS: "www.example.org", Type: "A"},
		{Flow: "udp 198.51.100.1:53 > 192.0.2.1:5000", DNS: "www.example.org", Type: "A"}, // the other direction
		{Flow: "tcp [2001:db8::1]:5001 > [2001:db8::2]:80", Host: "example.com"},
		{Flow: "udp 192.0.2.1:5002 > 198.51.100.1:9"},
		{Flow: "udp 192.0.2.1:5002 > 198.51.100.1:9"},
		{Flow: "udp 192.0.2.1:5003 > 198.51.100.1:10"},
	} {
		packets = append(packets, packetsOf(t, d)...)
	}
	return packets
}

// want is what becomes of them.
var want = []string{
	`drop "blocked" udp 192.0.2.1:5000 > 198.51.100.1:53 dns=www.example.org packets=2`,
	`pending accept "no plain http" tcp [2001:db8::1]:5001 > [2001:db8::2]:80 packets=1`,
	`reject "no plain http" tcp [2001:db8::1]:5001 > [2001:db8::2]:80 http=example.com packets=1`,
	`drop "limited" udp 192.0.2.1:5002 > 198.51.100.1:9 packets=1`,
	`accept "default" udp 192.0.2.1:5002 > 198.51.100.1:9 packets=1`,
}

// write makes a capture of packets, a second apart at most, with what a link type has before them.
func write(t *testing.T, kind layers.LinkType, packets [][]byte, ng bool) string {
	t.Helper()
	var b bytes.Buffer
	var to interface {
		WritePacket(gopacket.CaptureInfo, []byte) error
	}
	plain := pcapgo.NewWriter(&b)
	to = plain
	if ng {
		w, err := pcapgo.NewNgWriterInterface(&b, pcapgo.NgInterface{Name: "lab0", LinkType: kind}, pcapgo.DefaultNgWriterOptions)
		if err != nil {
			t.Fatal(err)
		}
		to = w
	} else if err := plain.WriteFileHeader(1<<16, kind); err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		before := map[layers.LinkType]map[byte]string{
			layers.LinkTypeEthernet: {4: "0200000000010200000000020800", 6: "02000000000102000000000286dd"},
			layers.LinkTypeLinuxSLL: {4: "00000001000600000000000000000800", 6: "000000010006000000000000000086dd"},
			layers.LinkTypeNull:     {4: "02000000", 6: "0a000000"},
		}[kind][p[0]>>4]
		header, err := hex.DecodeString(before)
		if err != nil {
			t.Fatal(err)
		}
		data := slices.Concat(header, p)
		info := gopacket.CaptureInfo{
			Timestamp: time.Unix(1_700_000_000, int64(i)*1e6), CaptureLength: len(data), Length: len(data),
		}
		if err := to.WritePacket(info, data); err != nil {
			t.Fatal(err)
		}
	}
	if w, ok := to.(*pcapgo.NgWriter); ok {
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "capture")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRun: the same packets have the same verdicts, whatever they were captured from.
func TestRun(t *testing.T) {
	for name, kind := range map[string]layers.LinkType{
		"raw": layers.LinkTypeRaw, "ethernet": layers.LinkTypeEthernet, "cooked": layers.LinkTypeLinuxSLL, "null": layers.LinkTypeNull,
	} {
		for _, ng := range []bool{false, true} {
			path := write(t, kind, sample(t), ng)
			r, err := Run(&Config{Judgement: judgement(t, text), Capture: path, Hook: vocabulary.HookOutput})
			if err != nil {
				t.Fatal(err)
			}
			last := `accept "default" udp 192.0.2.1:5003 > 198.51.100.1:10 packets=1`
			never := []string{"by interface", "never"}
			if ng { // which names the interface
				last = `drop "by interface" udp 192.0.2.1:5003 > 198.51.100.1:10 packets=1`
				never = never[1:]
			}
			if got := r.Lines(); !slices.Equal(got, append(slices.Clone(want), last)) {
				t.Errorf("%s, pcapng %v:\n%s", name, ng, strings.Join(got, "\n"))
			}
			if !slices.Equal(r.Never, never) || r.Packets != 7 {
				t.Errorf("%s, pcapng %v: %d packets, never %q", name, ng, r.Packets, r.Never)
			}
		}
	}
}

// TestRunHolds: what waits for a name has its verdict when that is known, or at the end.
func TestRunHolds(t *testing.T) {
	hello := packetsOf(t, Description{Flow: "tcp 192.0.2.1:5000 > 198.51.100.1:443", SNI: "example.org"})
	// The hello in two segments: the first one alone has no name.
	first, second := split(t, hello[1])
	held := "policy: {rules: [{name: held, action: drop, tls: {names: [example.org]}, pending: hold}]}"
	for _, test := range []struct {
		packets [][]byte
		want    []string
	}{
		{[][]byte{hello[0], first, second}, []string{
			`pending accept "held" tcp 192.0.2.1:5000 > 198.51.100.1:443 packets=1`,
			`drop "held" tcp 192.0.2.1:5000 > 198.51.100.1:443 tls=example.org packets=2`,
		}},
		{[][]byte{hello[0], first}, []string{
			`pending accept "held" tcp 192.0.2.1:5000 > 198.51.100.1:443 packets=1`,
			`accept "default" tcp 192.0.2.1:5000 > 198.51.100.1:443 tls=too-long packets=1`,
		}},
	} {
		path := write(t, layers.LinkTypeRaw, test.packets, false)
		r, err := Run(&Config{Judgement: judgement(t, held), Capture: path, Hook: vocabulary.HookOutput})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Lines(); !slices.Equal(got, test.want) {
			t.Errorf("%d packets:\n%s", len(test.packets), strings.Join(got, "\n"))
		}
	}
}

// TestRunGivesUp: what has waited for policy.names.time has its verdict then, by the times of the capture, and what it
// waited for comes too late.
func TestRunGivesUp(t *testing.T) {
	hello := packetsOf(t, Description{Flow: "tcp 192.0.2.1:5000 > 198.51.100.1:443", SNI: "example.org"})
	first, second := split(t, hello[1])
	other := packetsOf(t, Description{Flow: "udp 192.0.2.1:5001 > 198.51.100.1:9"})[0]
	held := "policy: {names: {time: 3ms}, rules: [{name: held, action: drop, tls: {names: [example.org]}, pending: hold}]}"
	for late, between := range map[bool]int{false: 1, true: 4} { // milliseconds
		packets := [][]byte{hello[0], first}
		for range between {
			packets = append(packets, other)
		}
		path := write(t, layers.LinkTypeRaw, append(packets, second), false)
		r, err := Run(&Config{Judgement: judgement(t, held), Capture: path, Hook: vocabulary.HookOutput})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(r.Lines(), "\n")
		if dropped := strings.Contains(got, `drop "held"`); dropped == late {
			t.Errorf("%d ms between:\n%s", between, got)
		}
	}
}

// split makes two segments of one.
func split(t *testing.T, p []byte) (first, second []byte) {
	t.Helper()
	decoded := gopacket.NewPacket(p, layers.LayerTypeIPv4, gopacket.Default)
	tcp, ok := decoded.TransportLayer().(*layers.TCP)
	if !ok {
		t.Fatal("no TCP")
	}
	payload := slices.Clone(tcp.Payload)
	f, err := parseFlow("tcp 192.0.2.1:5000 > 198.51.100.1:443")
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range [][]byte{payload[:60], payload[60:]} {
		segment := &layers.TCP{
			SrcPort: 5000, DstPort: 443, Seq: 1001 + uint32(60*i), Ack: 5000, ACK: true, Window: 65535,
		}
		b, err := f.packet(segment, part)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = b
		} else {
			second = b
		}
	}
	return first, second
}

// TestDifferences: what is missing and what is new, each with its sign; nothing else.
func TestDifferences(t *testing.T) {
	path := write(t, layers.LinkTypeRaw, sample(t), true)
	r, err := Run(&Config{Judgement: judgement(t, text), Capture: path, Hook: vocabulary.HookOutput})
	if err != nil {
		t.Fatal(err)
	}
	expected := strings.Join(r.Lines(), "\n")
	if d := r.Differences("# recorded\n\n" + expected); len(d) > 0 {
		t.Errorf("differences from itself: %q", d)
	}
	d := r.Differences(strings.Replace(expected, `drop "blocked"`, `accept "blocked"`, 1))
	if len(d) != 2 || !strings.HasPrefix(d[0], `- accept "blocked"`) || !strings.HasPrefix(d[1], `+ drop "blocked"`) {
		t.Errorf("%q", d)
	}
	if d := r.Differences(""); len(d) != len(r.Flows) {
		t.Errorf("nothing expected: %q", d)
	}
}

// TestBadCaptures: each says what it is and what to do.
func TestBadCaptures(t *testing.T) {
	whole, err := os.ReadFile(write(t, layers.LinkTypeRaw, sample(t), false))
	if err != nil {
		t.Fatal(err)
	}
	for says, content := range map[string][]byte{
		"shorter than a capture's header": {},
		"neither pcap nor pcapng":         []byte("policy: {default: drop}\n"),
		"ends in the middle of packet 7":  whole[:len(whole)-3],
	} {
		path := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Run(&Config{Judgement: judgement(t, text), Capture: path, Hook: vocabulary.HookOutput})
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want it to say %q", err, says)
		}
	}
}

// TestDescribe: the lines name each rule that was tried, what failed, and what decides.
func TestDescribe(t *testing.T) {
	for _, test := range []struct {
		d    Description
		want []string
	}{
		{Description{Flow: "udp 192.0.2.1:5000 > 198.51.100.1:53", DNS: "a.EXAMPLE.org.", Type: "aaaa"}, []string{
			`rule 1 "blocked" (drop): matches`, `"blocked" decides: drop`,
		}},
		{Description{Packet: hex.EncodeToString(packetsOf(t, Description{Flow: "udp 192.0.2.1:1 > 198.51.100.1:10"})[0]), Out: "lab1"},
			[]string{`rule 3 "limited" (drop): does not match: destination_ports is 10`, `"by interface" decides: drop`}},
		{Description{Flow: "udp 192.0.2.1:1 > 198.51.100.1:11"}, []string{"no rule matches: accept by default"}},
		{Description{Packet: "00"}, []string{"policy.undecodable decides"}},
	} {
		test.d.Judgement, test.d.Hook = judgement(t, text), vocabulary.HookOutput
		lines, err := Describe(&test.d)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(lines, "\n")
		for _, line := range test.want {
			if !strings.Contains(got, line) {
				t.Errorf("%+v: it lacks %q:\n%s", test.d.Flow, line, got)
			}
		}
	}
}

// TestDescribeRefuses what cannot be, and says how to write it.
func TestDescribeRefuses(t *testing.T) {
	for says, d := range map[string]Description{
		"write hexadecimal digits":        {Packet: "0x45"},
		"neither udp nor tcp":             {Flow: "icmp 192.0.2.1:1 > 192.0.2.2:1"},
		"of two families":                 {Flow: "udp 192.0.2.1:1 > [2001:db8::1]:1"},
		"write it like":                   {Flow: "192.0.2.1"},
		"no type of DNS":                  {Flow: "udp 192.0.2.1:1 > 192.0.2.2:53", DNS: "example.org", Type: "what"},
		"write --flow 'tcp":               {Flow: "udp 192.0.2.1:1 > 192.0.2.2:80", Host: "example.org"},
		"give them to verdictd test":      {Flow: "udp 192.0.2.1:1 > 192.0.2.2:443", SNI: "example.org"},
		`"http://example.org" is no name`: {Flow: "udp 192.0.2.1:1 > 192.0.2.2:53", DNS: "http://example.org", Type: "A"},
	} {
		d.Judgement = judgement(t, text)
		if lines, err := Describe(&d); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q, %v; want it to say %q", lines, err, says)
		}
	}
}
