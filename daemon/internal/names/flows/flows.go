package flows

import (
	"slices"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/dns"
	"verdictd/daemon/internal/names/quic"
	"verdictd/internal/packet"
)

// Result is what is known about a packet's flow, or of one question. Name and ALPN are
// valid until the next call of a method.
type Result struct {
	State    names.State
	Protocol Protocol
	Name     []byte
	// ALPN is the list of protocols that the client offers, a length before each.
	ALPN []byte
	// Question is set for DNS over UDP, and over TCP where the packet has one.
	Question dns.Question
}

// Expire gives up flows whose name was not found for reassembly.Config.Age, by a time in
// nanoseconds. It is that at which all packets of then were taken: those of a flow may have
// come in time and wait, where this process was stopped.
func (t *Table) Expire(now int64) {
	for owner := t.pool.Expire(now); owner != none; owner = t.pool.Expire(now) {
		t.lost(owner)
	}
}

// Begin takes a packet, at a time in nanoseconds that never goes back. fresh tells that
// the packet may begin a connection: conntrack's state of it is new. The packet has to
// stay as it is until Accept, or until the next Begin.
func (t *Table) Begin(v *packet.View, fresh bool, now int64) {
	t.now, t.ready, t.stream, t.client = now, false, stream{flow: none}, true
	switch {
	case v.FragmentOffset != 0:
		t.answer(Result{State: names.TooLong})
	case v.Protocol == unix.IPPROTO_TCP:
		t.tcp(v, fresh)
	case v.Protocol == unix.IPPROTO_UDP:
		t.udp(v)
	default:
		t.answer(Result{State: names.None})
	}
}

// FromClient reports whether the packet is one of those that can have the name: it does
// not come from the flow's server.
func (t *Table) FromClient() bool { return t.client }

// Next returns the packet's next result. The first call is always ok.
func (t *Table) Next() (r Result, ok bool) {
	if t.ready {
		t.ready = false
		return t.result, true
	}
	return t.nextQuestion()
}

func (t *Table) answer(r Result) { t.result, t.ready = r, true }

// stored answers with what is remembered.
func (t *Table) stored(i int32) {
	f := &t.flows[i]
	t.answer(Result{State: f.state, Protocol: f.protocol, Name: f.name[:f.nameLen], ALPN: f.alpn[:f.alpnLen]})
}

// isDNS reports whether a datagram is a message of DNS: one to such a port, or an answer from one.
func (t *Table) isDNS(v *packet.View, data []byte) bool {
	const response = 0x80
	return slices.Contains(t.dnsPorts, v.DstPort) || len(data) > 2 && data[2]&response != 0 && t.fromDNS(v)
}

func (t *Table) fromDNS(v *packet.View) bool { return slices.Contains(t.dnsPorts, v.SrcPort) }

// message takes one of DNS.
func (t *Table) message(v *packet.View, data []byte) {
	q, name, s := dns.Message(data, t.text)
	if s == names.More { // it ends in its question
		s = names.None
		if v.Truncated() {
			s = names.TooLong
		}
	}
	t.answer(Result{State: s, Protocol: DNS, Name: name, Question: q})
}

const portHTTPS = 443

func (t *Table) udp(v *packet.View) {
	data := v.Payload()
	if t.isDNS(v, data) {
		t.message(v, data)
		return
	}
	key, forward := keyOf(v)
	kind, id := quic.First(data)
	if kind == quic.UnknownVersion && v.DstPort != portHTTPS {
		kind = quic.NotQUIC
	}
	i := t.find(&key)
	if i == none {
		if kind != quic.Initial && t.fromDNS(v) { // who begins QUIC at such a port has only chosen it
			t.message(v, data)
			return
		}
		if kind != quic.Initial && kind != quic.UnknownVersion {
			t.answer(Result{State: names.None})
			return
		}
		i = t.remember(&key, forward)
		t.flows[i].protocol = QUIC
	}
	f := &t.flows[i]
	if t.client = f.forward == forward; t.client {
		switch {
		case kind == quic.UnknownVersion && !f.done:
			t.settle(i, names.Hidden, nil, nil)
		case kind == quic.Initial && (!f.done || id != f.id):
			t.initial(i, data)
		}
	}
	if !t.ready {
		t.stored(i)
	}
}
