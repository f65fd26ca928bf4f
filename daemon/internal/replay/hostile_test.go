package replay

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"verdictd/internal/vocabulary"
)

// numbers are of 32 bits.
func numbers(order binary.AppendByteOrder, list ...uint32) (b []byte) {
	for _, n := range list {
		b = order.AppendUint32(b, n)
	}
	return b
}

// plain is a pcap file with one packet.
func plain(order binary.AppendByteOrder, magic, snap, captured, length uint32, link layers.LinkType, p []byte) []byte {
	b := numbers(order, magic)
	b = order.AppendUint16(order.AppendUint16(b, 2), 4)
	b = append(b, numbers(order, 0, 0, snap, uint32(link), 1_700_000_000, 5, captured, length)...)
	return append(b, p...)
}

// block is one of pcapng, with the length that it says it has; 0: the true one.
func block(order binary.AppendByteOrder, kind, length uint32, content []byte) []byte {
	content = append(content, make([]byte, -len(content)&3)...)
	if length == 0 {
		length = uint32(len(content)) + 12
	}
	b := append(numbers(order, kind, length), content...)
	return append(b, numbers(order, length)...)
}

const (
	blockInterface, blockSimple = 1, 3

	micro, nano = 0xa1b2c3d4, 0xa1b23c4d
)

func section(order binary.AppendByteOrder) []byte {
	b := order.AppendUint16(order.AppendUint16(numbers(order, 0x1a2b3c4d), 1), 0)
	return block(order, blockSection, 0, append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
}

func device(order binary.AppendByteOrder, link layers.LinkType, options ...byte) []byte {
	b := order.AppendUint16(order.AppendUint16(nil, uint16(link)), 0)
	return block(order, blockInterface, 0, append(append(b, numbers(order, 0)...), options...))
}

func enhanced(order binary.AppendByteOrder, device, captured, length uint32, p []byte) []byte {
	return block(order, blockEnhanced, 0, append(numbers(order, device, 0, 5, captured, length), p...))
}

// TestHostileCaptures: whatever a file says of itself, it is read to its end or refused, at once, with little memory.
func TestHostileCaptures(t *testing.T) {
	var little, big = binary.LittleEndian, binary.BigEndian
	p := packetsOf(t, Description{Flow: "udp 192.0.2.1:5000 > 198.51.100.1:53", DNS: "www.example.org", Type: "A"})[0]
	n := uint32(len(p))
	raw := layers.LinkTypeRaw
	judged := "drop \"blocked\" udp 192.0.2.1:5000 > 198.51.100.1:53 dns=www.example.org packets=1"
	ng := func(order binary.AppendByteOrder, blocks ...[]byte) []byte {
		return slices.Concat(append([][]byte{section(order)}, blocks...)...)
	}
	many := [][]byte{}
	for range 5000 {
		many = append(many, device(little, raw))
	}
	for name, test := range map[string]struct {
		file []byte
		want []string // flows
		says string   // of the error; "": there is none
	}{
		"big-endian":                  {plain(big, micro, 1<<16, n, n, raw, p), []string{judged}, ""},
		"nanoseconds":                 {plain(little, nano, 1<<16, n, n, raw, p), []string{judged}, ""},
		"big-endian nanoseconds":      {plain(big, nano, 1<<16, n, n, raw, p), []string{judged}, ""},
		"no packets":                  {plain(little, micro, 1<<16, n, n, raw, nil)[:24], nil, ""},
		"a packet of no bytes":        {plain(little, micro, 1<<16, 0, 0, raw, nil), []string{`drop "undecodable" undecodable packets=1`}, ""},
		"longer than it says":         {plain(little, micro, 8, n, n, raw, p), []string{judged}, ""},
		"a snap length of 4 GiB":      {plain(little, micro, 1<<32-1, n, n, raw, p), []string{judged}, ""},
		"a packet of 4 GiB":           {plain(little, micro, 1<<32-1, 1<<32-16, 1<<32-16, raw, p), nil, "packet 1"},
		"more captured than there is": {plain(little, micro, 1<<16, n, n-1, raw, p), nil, "packet 1"},
		"cut":                         {plain(little, micro, 1<<16, n, n+1000, raw, p), []string{judged}, ""},
		"a link type of nobody":       {plain(little, micro, 1<<16, n, n, 222, p), nil, ""},
		"another version":             {append(numbers(little, micro), 9, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), nil, "neither pcap nor pcapng"},
		"gzip of nothing":             {[]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0}, nil, "neither pcap nor pcapng"},

		"pcapng, big-endian":          {ng(big, device(big, raw), enhanced(big, 0, n, n, p)), []string{judged}, ""},
		"a section of each":           {append(ng(big, device(big, raw)), ng(little, device(little, raw), enhanced(little, 0, n, n, p))...), []string{judged}, ""},
		"a simple packet":             {ng(little, device(little, raw), block(little, blockSimple, 0, append(numbers(little, n), p...))), []string{judged}, ""},
		"5,000 interfaces":            {ng(little, append(many, enhanced(little, 4999, n, n, p))...), []string{judged}, ""},
		"no interface":                {ng(little, enhanced(little, 0, n, n, p)), nil, "packet 1"},
		"another interface":           {ng(little, device(little, raw), enhanced(little, 1<<31, n, n, p)), nil, "packet 1"},
		"a block of no length":        {ng(little, device(little, raw), numbers(little, 0xbad, 0, 0), enhanced(little, 0, n, n, p)), nil, "block 3 says that it has 0 bytes"},
		"a block of 4 GiB":            {ng(little, device(little, raw), numbers(little, 0xbad, 1<<32-4), enhanced(little, 0, n, n, p)), nil, "block 3 says"},
		"a block that is cut":         {ng(little, device(little, raw), enhanced(little, 0, n, n, p)[:40]), nil, "ends in the middle of packet 1"},
		"a packet of 4 GiB in one":    {ng(little, device(little, raw), enhanced(little, 0, 1<<32-16, 1<<32-16, p)), nil, "block 3 is shorter than its packet"},
		"less block than packet":      {ng(little, device(little, raw), block(little, blockEnhanced, 36, append(numbers(little, 0, 0, 5, n, n), p...))), nil, "block 3 is shorter"},
		"a resolution of 2^-127":      {ng(little, device(little, raw, 9, 0, 1, 0, 0xff, 0, 0, 0, 0, 0, 0, 0), enhanced(little, 0, n, n, p)), nil, "packet 1"},
		"a resolution of 10^-127":     {ng(little, device(little, raw, 9, 0, 1, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0), enhanced(little, 0, n, n, p)), nil, "packet 1"},
		"options longer than a block": {ng(little, device(little, raw, 2, 0, 0xff, 0xff)), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "capture")
			if err := os.WriteFile(path, test.file, 0o600); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			r, err := Run(&Config{Judgement: judgement(t, text), Capture: path, Hook: vocabulary.HookOutput})
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			if err != nil {
				if test.want != nil || !strings.Contains(err.Error(), test.says) || !strings.HasPrefix(err.Error(), path) {
					t.Errorf("%v, want %q and that it says %q", err, test.want, test.says)
				}
				return
			}
			if got := r.Lines(); test.says != "" || !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q; an error that says %q", got, test.want, test.says)
			}
		})
	}
}
