package liverules

import (
	"encoding/binary"
	"reflect"
	"testing"
)

// words are 16 bit fields in host order.
func words(list ...uint16) []byte {
	var b []byte
	for _, w := range list {
		b = binary.NativeEndian.AppendUint16(b, w)
	}
	return b
}

func TestXTQueue(t *testing.T) {
	tests := []struct {
		name     string
		revision uint32
		info     []byte
		want     QueueStatement
	}{
		{"0", 0, words(7, 99, 99, 99), QueueStatement{"NFQUEUE", 7, 7, false, false, FanoutNone}},
		{"1", 1, words(7, 4, 99, 99), QueueStatement{"NFQUEUE", 7, 10, false, false, FanoutBalance}},
		{"2", 2, words(7, 4, 1, 99), QueueStatement{"NFQUEUE", 7, 10, false, true, FanoutBalance}},
		{"2, bypass is a number", 2, words(7, 1, 2, 0), QueueStatement{"NFQUEUE", 7, 7, false, true, FanoutNone}},
		{"3", 3, words(7, 4, 0, 0), QueueStatement{"NFQUEUE", 7, 10, false, false, FanoutBalance}},
		{"3, bypass", 3, words(7, 1, 1, 0), QueueStatement{"NFQUEUE", 7, 7, false, true, FanoutNone}},
		{"3, by CPU", 3, words(7, 2, 2, 0), QueueStatement{"NFQUEUE", 7, 8, false, false, FanoutCPU}},
		{"3, both", 3, words(7, 2, 3, 0), QueueStatement{"NFQUEUE", 7, 8, false, true, FanoutCPU}},
		{"one queue needs no fan-out", 3, words(7, 1, 2, 0), QueueStatement{"NFQUEUE", 7, 7, false, false, FanoutNone}},
		{"beyond the last queue", 3, words(65535, 4, 0, 0), QueueStatement{"NFQUEUE", 65535, 65535, false, false, FanoutNone}},
		{"too short", 3, words(7, 1), QueueStatement{Statement: "NFQUEUE", Computed: true, Fanout: FanoutNone}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var r rule
			r.applyXTTarget("NFQUEUE", test.revision, test.info)
			if r.queue == nil || *r.queue != test.want || r.outcomes != absorbed {
				t.Errorf("%+v, outcomes %b; want %+v", r.queue, r.outcomes, test.want)
			}
		})
	}
}

func TestXTTargets(t *testing.T) {
	notrack, zone := words(1, 0), words(0, 5)
	tests := []struct {
		name string
		info []byte
		want rule
	}{
		{"CT", notrack, rule{notrack: true, outcomes: goesOn}},
		{"CT", zone, rule{tracks: true, zone: &zoning{id: 5}, outcomes: goesOn}},
		{"CT", words(0, 0, 0, 0), rule{tracks: true, outcomes: goesOn}},
		{"NOTRACK", nil, rule{notrack: true, outcomes: goesOn}},
		{"DNAT", nil, rule{tracks: true, rewrite: "dnat", outcomes: absorbed}},
		{"REDIRECT", nil, rule{tracks: true, rewrite: "redirect", outcomes: absorbed}},
		{"NETMAP", nil, rule{tracks: true, rewrite: "netmap", outcomes: absorbed | goesOn}},
		{"TPROXY", nil, rule{rewrite: "tproxy", outcomes: absorbed | goesOn}},
		{"MASQUERADE", nil, rule{tracks: true, outcomes: absorbed}},
		{"CT", words(1<<4, 0, 0, 0), rule{tracks: true, zone: &zoning{computed: true}, outcomes: goesOn}},
		{"MARK", nil, rule{outcomes: goesOn}},
		{"CONNMARK", nil, rule{tracks: true, outcomes: goesOn}},
		{"UNHEARDOF", nil, rule{outcomes: absorbed | goesOn}},
	}
	for _, test := range tests {
		var r rule
		r.applyXTTarget(test.name, 0, test.info)
		if r.notrack != test.want.notrack || !reflect.DeepEqual(r.zone, test.want.zone) || r.tracks != test.want.tracks || r.rewrite != test.want.rewrite || r.outcomes != test.want.outcomes {
			t.Errorf("%s %x: %+v, want %+v", test.name, test.info, r, test.want)
		}
	}
}

func TestXTMatches(t *testing.T) {
	mark := func(value, mask uint32, not byte) []byte {
		b := binary.NativeEndian.AppendUint32(nil, value)
		return append(binary.NativeEndian.AppendUint32(b, mask), not, 0, 0, 0)
	}
	multiport := func(side, count byte, ports []uint16, ranges []byte, not byte) []byte {
		b := append([]byte{side, count}, words(ports...)...)
		b = append(b, make([]byte, 2+2*15-len(b))...)
		b = append(b, ranges...)
		b = append(b, make([]byte, 2+3*15-len(b))...)
		return append(b, not)
	}
	conntrack := func(match, invert, states uint16, status ...uint16) []byte {
		b := make([]byte, 160)
		copy(b[146:], words(append([]uint16{match, invert, states}, status...)...))
		return b
	}
	tests := []struct {
		name     string
		revision uint32
		info     []byte
		want     string
	}{
		{"mark", 1, mark(1, 3, 0), "meta mark & 0x3 == 0x1"},
		{"mark", 1, mark(1, 0xffffffff, 1), "meta mark != 0x1"},
		{"mark", 1, mark(1, 3, 0)[:8], "xt mark"},
		{"mark", 2, mark(1, 3, 0), "xt mark"},
		{"udp", 0, append(words(0, 0xffff, 53, 53), 0, 0), "udp dport 53"},
		{"tcp", 0, append(words(1, 2, 53, 53), 0, 0, 0, 0), "tcp sport 1-2 tcp dport 53"},
		{"udp", 0, append(words(0, 0xffff, 0, 0xffff), 0, 0), ""},
		{"udp", 0, append(words(0, 0xffff, 53, 53), 2, 0), "xt udp sport 0-65535 dport 53-53 flags 0x0200"},
		{"udp", 0, words(1), "xt udp"},
		{"multiport", 1, multiport(1, 3, []uint16{53, 1000, 2000}, []byte{0, 1, 0}, 0), "th dport { 53, 1000-2000 }"},
		{"multiport", 1, multiport(0, 1, []uint16{53}, nil, 1), "th sport != { 53 }"},
		{"multiport", 1, multiport(2, 16, []uint16{53}, nil, 1), "xt multiport"},
		{"multiport", 1, multiport(1, 1, []uint16{53}, []byte{1}, 0), "th dport { 53 }"},
		{"multiport", 0, []byte{1}, "xt multiport"},
		{"conntrack", 3, conntrack(1, 0, 2), "ct state established"},
		{"conntrack", 1, conntrack(1, 0, 2), "ct state established"},
		{"conntrack", 3, conntrack(1<<6, 0, 0, 8), "ct status confirmed"},
		{"conntrack", 1, conntrack(1<<6, 0, 8<<8), "ct status confirmed"},
		{"conntrack", 3, conntrack(1<<6, 1<<6, 0, 8), "xt conntrack"},
		{"conntrack", 3, conntrack(1<<6, 0, 0, 10), "xt conntrack"},
		{"conntrack", 3, conntrack(1, 0, 6), "xt conntrack"},
		{"conntrack", 3, conntrack(1, 1, 2), "xt conntrack"},
		{"conntrack", 3, conntrack(0, 0, 2), "xt conntrack"},
		{"conntrack", 3, conntrack(1, 0, 2)[:150], "xt conntrack"},
		{"state", 0, words(2, 0), "ct state established"},
		{"state", 0, words(10, 0), "xt state"},
		{"comment", 0, []byte("hello"), ""},
		{"limit", 0, nil, "xt limit"},
	}
	for _, test := range tests {
		var r rule
		r.applyXTMatch(test.name, test.revision, test.info)
		if got := matchText(r.conditions); got != test.want {
			t.Errorf("%s revision %d: %q, want %q", test.name, test.revision, got, test.want)
		}
	}
}
