package liverules

import (
	"encoding/binary"
	"testing"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// encode makes of expressions what the kernel's dump has of a rule.
func encode(t testing.TB, f Family, expressions ...expr.Any) object {
	t.Helper()
	var list []netlink.Attribute
	for _, e := range expressions {
		data, err := expr.Marshal(familyNumbers[f], e)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, netlink.Attribute{Type: unix.NFTA_LIST_ELEM | unix.NLA_F_NESTED, Data: data})
	}
	return object{f, attributes{unix.NFTA_RULE_EXPRESSIONS: marshal(t, list...), unix.NFTA_RULE_HANDLE: {0, 0, 0, 0, 0, 0, 0, 42}}}
}

func marshal(t testing.TB, list ...netlink.Attribute) []byte {
	t.Helper()
	b, err := netlink.MarshalAttributes(list)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// raw is an expression that the library cannot encode.
func raw(t testing.TB, name string, list ...netlink.Attribute) []byte {
	return marshal(t,
		netlink.Attribute{Type: unix.NFTA_EXPR_NAME, Data: append([]byte(name), 0)},
		netlink.Attribute{Type: unix.NFTA_EXPR_DATA | unix.NLA_F_NESTED, Data: marshal(t, list...)})
}

func number16(kind, n uint16) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: binary.BigEndian.AppendUint16(nil, n)}
}

func number32(kind uint16, n uint32) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: binary.BigEndian.AppendUint32(nil, n)}
}

func native(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func decode(t testing.TB, o object, sets map[string]set) rule {
	t.Helper()
	r, err := decodeRule(o, sets)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNativeQueue(t *testing.T) {
	tests := []struct {
		name string
		expr *expr.Queue
		want QueueStatement
	}{
		{"one", &expr.Queue{Num: 7}, QueueStatement{"queue", 7, 7, false, false, FanoutNone}},
		{"range", &expr.Queue{Num: 7, Total: 4}, QueueStatement{"queue", 7, 10, false, false, FanoutBalance}},
		{"bypass", &expr.Queue{Num: 7, Total: 4, Flag: expr.QueueFlagBypass}, QueueStatement{"queue", 7, 10, false, true, FanoutBalance}},
		{"cpu", &expr.Queue{Num: 7, Total: 4, Flag: expr.QueueFlagFanout}, QueueStatement{"queue", 7, 10, false, false, FanoutCPU}},
	}
	for _, test := range tests {
		r := decode(t, encode(t, Inet, &expr.Counter{}, test.expr), nil)
		if r.queue == nil || *r.queue != test.want || r.outcomes != absorbed || r.handle != 42 {
			t.Errorf("%s: %+v, want %+v", test.name, r, test.want)
		}
	}
}

// `queue flags bypass to numgen inc mod 4 map { .. }`: since 4.9 the number may
// come from a register.
func TestComputedQueue(t *testing.T) {
	list := marshal(t, netlink.Attribute{Type: unix.NFTA_LIST_ELEM, Data: raw(t, "queue",
		number16(unix.NFTA_QUEUE_FLAGS, unix.NFT_QUEUE_FLAG_BYPASS), number32(unix.NFTA_QUEUE_SREG_QNUM, unix.NFT_REG_1))})
	r := decode(t, object{Inet, attributes{unix.NFTA_RULE_EXPRESSIONS: list}}, nil)
	if want := (QueueStatement{Statement: "queue", Computed: true, Bypass: true, Fanout: FanoutMap}); r.queue == nil || *r.queue != want {
		t.Errorf("%+v, want %+v", r.queue, want)
	}
	if got := r.queue.String(); got != "queue to a computed number bypass fanout map" {
		t.Errorf("%q", got)
	}
}

func TestExpressions(t *testing.T) {
	const reg = unix.NFT_REG_1
	meta := func(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: reg} }
	equal := func(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data} }
	payload := func(base expr.PayloadBase, offset, length uint32) expr.Any {
		return &expr.Payload{Base: base, Offset: offset, Len: length, DestRegister: reg}
	}
	mask := func(length uint32, mask []byte) expr.Any {
		return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: length, Mask: mask, Xor: make([]byte, length)}
	}
	info := func(b ...byte) *xt.Unknown { u := xt.Unknown(b); return &u }
	sets := map[string]set{
		"__set0": {anonymous: true, keyLength: 2, elements: []element{{key: []byte{0, 53}, plain: true}, {key: []byte{3, 85}, plain: true}}},
		"__set1": {anonymous: true, keyLength: 2, elements: []element{{key: []byte{0, 53}, plain: true}, {key: []byte{3, 85}}}},
		"__map0": {anonymous: true, verdicts: true, keyLength: 4, elements: []element{
			{key: native(1), plain: true, verdict: &verdict{nftGoto, "a"}}, {key: native(0), plain: true, verdict: &verdict{verdictDrop, ""}},
		}},
		"m": {verdicts: true, keyLength: 4, elements: []element{
			{verdict: &verdict{nftGoto, "a"}}, {verdict: &verdict{nftJump, "b"}}, {verdict: &verdict{0, ""}},
		}},
		"q": {verdicts: true, keyLength: 4, elements: []element{{verdict: &verdict{verdictQueue | 5<<16, ""}}}},
	}
	tests := []struct {
		name string
		f    Family
		list []expr.Any
		want string
		test func(rule) bool
	}{
		{"nothing", Inet, nil, "", func(r rule) bool { return r.outcomes == goesOn }},
		{"statements", Inet, []expr.Any{&expr.Counter{}, &expr.Log{}, &expr.Notrack{}}, "", func(r rule) bool { return r.outcomes == goesOn && r.notrack && !r.tracks }},
		{"dport", Inet, []expr.Any{meta(expr.MetaKeyL4PROTO), equal(17), payload(expr.PayloadBaseTransportHeader, 2, 2), equal(0, 53)},
			"meta l4proto udp th dport 53", func(r rule) bool { return r.conditions[0].limits.protocols == byteSetOf(17) && r.conditions[1].stable }},
		{"addresses", IPv4, []expr.Any{payload(expr.PayloadBaseNetworkHeader, 12, 4), equal(192, 0, 2, 1), payload(expr.PayloadBaseNetworkHeader, 16, 3), equal(198, 51, 100)},
			"ip saddr 192.0.2.1 ip daddr 198.51.100.0/24", nil},
		{"prefix", IPv4, []expr.Any{payload(expr.PayloadBaseNetworkHeader, 16, 4), mask(4, []byte{255, 255, 254, 0}), equal(192, 0, 2, 0)}, "ip daddr 192.0.2.0/23", nil},
		{"IPv6 by match", Inet, []expr.Any{meta(expr.MetaKeyNFPROTO), equal(unix.NFPROTO_IPV6), payload(expr.PayloadBaseNetworkHeader, 24, 4), equal(0x20, 1, 0xd, 0xb8)},
			"meta nfproto ipv6 ip6 daddr 2001:db8::/32", func(r rule) bool { return r.conditions[0].family == IPv6 }},
		{"links", Inet, []expr.Any{meta(expr.MetaKeyIIFNAME), equal('l', 'o', 0), meta(expr.MetaKeyOIFNAME), equal('e', 't', 'h')}, `iifname "lo" oifname "eth*"`, nil},
		{"mark bit", Inet, []expr.Any{meta(expr.MetaKeyMARK), mask(4, native(0x40)), &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: native(0)}},
			"meta mark & 0x40 != 0x0", nil},
		{"mark", Inet, []expr.Any{meta(expr.MetaKeyMARK), equal(native(7)...)}, "meta mark 0x7", nil},
		{"established", Inet, []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: reg}, mask(4, native(2)), &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: native(0)}},
			"ct state established", func(r rule) bool { return r.tracks && r.conditions[0].established }},
		{"a zone", Inet, []expr.Any{&expr.Immediate{Register: reg, Data: native(3)}, &expr.Ct{Key: expr.CtKeyZONE, Register: reg, SourceRegister: true}},
			"", func(r rule) bool { return r.tracks && *r.zone == zoning{id: 3} }},
		{"another's zone", Inet, []expr.Any{&expr.Ct{Key: expr.CtKeyZONE, Register: reg}}, "[ct key 17]", func(r rule) bool { return r.zone == nil }},
		{"a mark", Inet, []expr.Any{&expr.Ct{Key: expr.CtKeyMARK, Register: reg, SourceRegister: true}}, "", func(r rule) bool { return r.zone == nil }},
		{"confirmed", Inet, []expr.Any{&expr.Ct{Key: expr.CtKeySTATUS, Register: reg}, mask(4, native(8)), &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: native(0)}},
			"ct status confirmed", func(r rule) bool { return r.tracks && r.conditions[0].confirmed }},
		{"not confirmed", Inet, []expr.Any{&expr.Ct{Key: expr.CtKeySTATUS, Register: reg}, mask(4, native(8)), &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: native(0)}},
			"ct status & 0x8 == 0x0", func(r rule) bool { return !r.conditions[0].confirmed }},
		{"confirmed or answered", Inet, []expr.Any{&expr.Ct{Key: expr.CtKeySTATUS, Register: reg}, mask(4, native(10)), &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: native(0)}},
			"ct status & 0xa != 0x0", func(r rule) bool { return !r.conditions[0].confirmed }},
		{"established or related", Inet, []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: reg}, mask(4, native(6)), &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: native(0)}},
			"ct state & 0x6 != 0x0", func(r rule) bool { return !r.conditions[0].established }},
		{"range", Inet, []expr.Any{payload(expr.PayloadBaseTransportHeader, 2, 2), &expr.Range{Op: expr.CmpOpEq, Register: reg, FromData: []byte{0, 53}, ToData: []byte{0, 99}}}, "th dport 53-99", nil},
		{"set", Inet, []expr.Any{payload(expr.PayloadBaseTransportHeader, 2, 2), &expr.Lookup{SourceRegister: reg, SetName: "__set0"}}, "th dport { 53, 853 }", func(r rule) bool { return !r.conditions[0].local }},
		{"set with ranges", Inet, []expr.Any{payload(expr.PayloadBaseTransportHeader, 2, 2), &expr.Lookup{SourceRegister: reg, SetName: "__set1", Invert: true}}, "th dport != @__set1", func(r rule) bool { return r.conditions[0].local }},
		{"verdict map", Inet, []expr.Any{&expr.Numgen{Register: reg, Modulus: 3}, &expr.Lookup{SourceRegister: reg, IsDestRegSet: true, SetName: "m"}},
			"numgen mod 3 vmap @m", func(r rule) bool {
				return len(r.calls) == 2 && r.outcomes == goesOn|handsOver|absorbed && r.conditions[0].spread
			}},
		{"verdict map that queues", Inet, []expr.Any{meta(expr.MetaKeyMARK), &expr.Lookup{SourceRegister: reg, IsDestRegSet: true, SetName: "q"}},
			"meta mark vmap @q", func(r rule) bool { return *r.queue == QueueStatement{"QUEUE", 5, 5, false, false, FanoutNone} }},
		{"anonymous verdict map", Inet, []expr.Any{&expr.Numgen{Register: reg, Modulus: 2}, &expr.Lookup{SourceRegister: reg, IsDestRegSet: true, SetName: "__map0"}},
			"numgen mod 2 vmap { 0 : drop, 1 : goto a }", nil},
		{"unknown map", Inet, []expr.Any{meta(expr.MetaKeyMARK), &expr.Lookup{SourceRegister: reg, IsDestRegSet: true, SetName: "gone"}},
			"meta mark vmap @gone", func(r rule) bool { return r.outcomes == goesOn|comesBack|handsOver|absorbed }},
		{"verdicts", Inet, []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: "c"}}, "", func(r rule) bool { return r.outcomes == handsOver && r.calls[0] == "c" }},
		{"drop", Inet, []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}, "", func(r rule) bool { return r.outcomes == absorbed && r.queue == nil }},
		{"return", Inet, []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}, "", func(r rule) bool { return r.outcomes == comesBack }},
		{"queue verdict", Inet, []expr.Any{&expr.Verdict{Kind: expr.VerdictKind(verdictQueue)}}, "", func(r rule) bool { return r.queue.Statement == "QUEUE" && r.outcomes == absorbed }},
		{"dnat", IPv4, []expr.Any{&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4}}, "", func(r rule) bool { return r.rewrite == "dnat" && r.tracks && r.outcomes == absorbed }},
		{"netmap", IPv4, []expr.Any{&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, Prefix: true}}, "", func(r rule) bool { return r.rewrite == "netmap" }},
		{"snat", IPv4, []expr.Any{&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4}}, "", func(r rule) bool { return r.rewrite == "" && r.tracks }},
		{"redirect", IPv4, []expr.Any{&expr.Redir{}}, "", func(r rule) bool { return r.rewrite == "redirect" && r.tracks }},
		{"masquerade", IPv4, []expr.Any{&expr.Masq{}}, "", func(r rule) bool { return r.rewrite == "" && r.tracks }},
		{"tproxy", Inet, []expr.Any{&expr.TProxy{Family: unix.NFPROTO_IPV4}}, "[tproxy]", func(r rule) bool { return r.rewrite == "tproxy" && r.outcomes == goesOn }},
		{"limit", Inet, []expr.Any{&expr.Limit{Rate: 1}, &expr.Verdict{Kind: expr.VerdictAccept}}, "[limit]", func(r rule) bool { return !r.conditions[0].stable }},
		{"counter object", Inet, []expr.Any{&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: "o"}}, "", func(r rule) bool { return !r.tracks }},
		{"helper object", Inet, []expr.Any{&expr.Objref{Type: 3, Name: "o"}}, "[object o]", func(r rule) bool { return r.tracks }},
		{"xt", IPv4, []expr.Any{&expr.Match{Name: "limit", Info: info(1, 2)}, &expr.Target{Name: "NFQUEUE", Rev: 0, Info: info(words(3)...)}},
			"xt limit", func(r rule) bool { return *r.queue == QueueStatement{"NFQUEUE", 3, 3, false, false, FanoutNone} }},
		{"a map's value", Inet, []expr.Any{&expr.Numgen{Register: reg, Modulus: 2}, &expr.Lookup{SourceRegister: reg, DestRegister: 2, IsDestRegSet: true, SetName: "m"},
			&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 2}, &expr.Verdict{Kind: expr.VerdictAccept}}, "[numgen mod 2 map @m]", nil},
		{"a value that is compared", Inet, []expr.Any{&expr.Ct{Key: expr.CtKeyMARK, Register: reg}, mask(4, native(7)), equal(native(1)...), &expr.Verdict{Kind: expr.VerdictAccept}},
			"ct mark & 0x7 == 0x1", nil},
		{"a value that is not there", Inet, []expr.Any{&expr.Ct{Key: expr.CtKeyMARK, Register: reg}, mask(4, native(7)), &expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg},
			&expr.Verdict{Kind: expr.VerdictAccept}}, "[ct mark]", nil},
		{"a value that is always there", Inet, []expr.Any{meta(expr.MetaKeyMARK), &expr.Ct{Key: expr.CtKeyMARK, Register: reg, SourceRegister: true}, &expr.Verdict{Kind: expr.VerdictAccept}}, "", nil},
		{"a hash", IPv4, []expr.Any{payload(expr.PayloadBaseNetworkHeader, 12, 4), &expr.Hash{SourceRegister: reg, DestRegister: reg, Length: 4, Modulus: 2, Type: expr.HashTypeJenkins},
			&expr.Lookup{SourceRegister: reg, IsDestRegSet: true, SetName: "m"}}, "hash mod 2 vmap @m", nil},
		{"written", Inet, []expr.Any{&expr.Immediate{Register: reg, Data: []byte{0, 53}}, &expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}},
			"[payload]", func(r rule) bool { return r.mangles }},
		{"offloaded", Inet, []expr.Any{&expr.FlowOffload{Name: "f"}, &expr.Verdict{Kind: expr.VerdictAccept}}, "[flow_offload]", func(r rule) bool { return r.tracks }},
		{"behind a verdict map", Inet, []expr.Any{meta(expr.MetaKeyMARK), &expr.Lookup{SourceRegister: reg, IsDestRegSet: true, SetName: "m"}, meta(expr.MetaKeyL4PROTO), equal(6)},
			"meta mark vmap @m [meta l4proto tcp]", func(r rule) bool { return r.conditions[1].limits == nil && !r.conditions[1].stable }},
		{"other payload", Inet, []expr.Any{payload(expr.PayloadBaseNetworkHeader, 1, 1), equal(8)}, "@nh,8,8 0x08", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := decode(t, encode(t, test.f, test.list...), sets)
			if got := matchText(r.conditions); got != test.want {
				t.Errorf("match %q, want %q", got, test.want)
			}
			if test.test != nil && !test.test(r) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// An expression from a newer kernel must not make a match look unconditional.
func TestUnknownExpressionIsACondition(t *testing.T) {
	list := marshal(t, netlink.Attribute{Type: unix.NFTA_LIST_ELEM, Data: raw(t, "novelty")})
	r := decode(t, object{Inet, attributes{unix.NFTA_RULE_EXPRESSIONS: list}}, nil)
	if matchText(r.conditions) != "[novelty]" || r.outcomes != goesOn {
		t.Errorf("%+v", r)
	}
}

func FuzzRule(f *testing.F) {
	f.Add(encode(f, Inet, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Register: 1, Data: []byte{17}}, &expr.Queue{Num: 7}).get(unix.NFTA_RULE_EXPRESSIONS))
	f.Add(encode(f, IPv4, &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 3, DestRegister: 1}, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 3, Mask: []byte{1, 2, 3}, Xor: []byte{0, 0, 0}}, &expr.Cmp{Register: 1, Data: []byte{192, 0, 2}}).get(unix.NFTA_RULE_EXPRESSIONS))
	f.Add(encode(f, Inet, &expr.Verdict{Kind: expr.VerdictJump, Chain: "c"}).get(unix.NFTA_RULE_EXPRESSIONS))
	for _, expressions := range testkit.Recorded(f, "testdata/rules.txt") {
		f.Add(expressions)
	}
	f.Fuzz(func(t *testing.T, expressions []byte) {
		o := object{Inet, attributes{unix.NFTA_RULE_EXPRESSIONS: expressions}}
		r, err := decodeRule(o, map[string]set{"s": {anonymous: true, keyLength: 64, elements: []element{{key: []byte{1}, plain: true}}}})
		if err != nil {
			return
		}
		if r.outcomes == 0 {
			t.Errorf("nothing can become of a packet after %+v", r)
		}
		analyse(model(baseChain(vocabulary.HookOutput, 0, r)), tracked, true)
	})
}

func TestHookOf(t *testing.T) {
	for _, test := range []struct {
		f      Family
		number uint32
		want   vocabulary.Hook
	}{{Inet, 0, vocabulary.HookPrerouting}, {Inet, 5, vocabulary.HookIngress}, {Bridge, 3, vocabulary.HookOutput}, {NetDev, 0, vocabulary.HookIngress}, {NetDev, 1, vocabulary.HookEgress}, {ARP, 1, vocabulary.HookOutput}, {ARP, 9, "hook 9"}} {
		if got := hookOf(test.f, test.number); got != test.want {
			t.Errorf("%s %d: %s, want %s", test.f, test.number, got, test.want)
		}
	}
}

func TestNotLoaded(t *testing.T) {
	if notLoaded("nf_tables_that_nobody_has_heard_of") {
		t.Error("a module that does not exist is taken for one that could be loaded")
	}
}
