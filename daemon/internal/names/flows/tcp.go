package flows

import (
	"encoding/binary"
	"slices"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/dns"
	"verdictd/daemon/internal/names/http1"
	"verdictd/internal/packet"
)

const (
	tcpHeaderLen = 20
	flagSYN      = 0x02
	flagACK      = 0x10
	flagURG      = 0x20

	recordAlert, recordHandshake = 21, 22
)

// stream is DNS over TCP in the packet of now.
type stream struct {
	flow  int32
	bytes []byte
	at    int // of the next message, perhaps behind the bytes
	given bool
	last  Result
	early bool // the packet is a SYN
}

// tcp takes a segment.
func (t *Table) tcp(v *packet.View, fresh bool) {
	header := v.L4()
	if len(header) < tcpHeaderLen {
		t.answer(Result{State: names.TooLong})
		return
	}
	sequence, acknowledged := binary.BigEndian.Uint32(header[4:]), binary.BigEndian.Uint32(header[8:])
	key, forward := keyOf(v)
	i := t.find(&key)
	switch v.TCPFlags & (flagSYN | flagACK) {
	case flagSYN:
		sequence++
		if i == none {
			i = t.remember(&key, forward)
			t.flows[i].first, t.flows[i].start = sequence, sequence
		} else if f := &t.flows[i]; fresh && (f.first != sequence || f.forward != forward) {
			t.restart(i, forward)
			f.first, f.start = sequence, sequence
		}
		if f := &t.flows[i]; f.first == sequence {
			f.early = max(f.early, uint32(len(v.Payload())))
		}
	case flagSYN | flagACK:
		if i == none {
			i = t.remember(&key, !forward)
			t.flows[i].first, t.flows[i].start = acknowledged, acknowledged
		} else if f := &t.flows[i]; f.forward != forward && acknowledged != f.first+f.early && (f.state == names.More || f.early > 0) {
			// The server has the last word on where the stream begins. What it has not taken of a SYN comes
			// once more, or something else does.
			t.restart(i, f.forward)
			f.first, f.start = acknowledged, acknowledged
		}
	default:
		if i == none {
			t.midstream++
			t.answer(Result{State: names.TooLong})
			return
		}
	}
	f := &t.flows[i]
	data := v.Payload()
	t.client = f.forward == forward
	if f.protocol == Unknown && !f.done && t.serves(v) {
		f.protocol = DNS
	}
	if !t.client || f.done || len(data) == 0 {
		t.stored(i)
		return
	}
	if v.TCPFlags&flagURG != 0 {
		// A byte of it is not in the stream that most servers read.
		t.settle(i, names.TooLong, nil, nil)
		t.stored(i)
		return
	}
	t.segment(i, int64(int32(sequence-f.start)), data)
	if v.TCPFlags&flagSYN != 0 {
		t.early(i, data)
	}
}

// serves reports whether the flow's server is at a port of DNS. The client's port is its own to choose.
func (t *Table) serves(v *packet.View) bool {
	if t.client {
		return slices.Contains(t.dnsPorts, v.DstPort)
	}
	return slices.Contains(t.dnsPorts, v.SrcPort)
}

// early is for data in a SYN (RFC 7413), which many servers do not take: what it has counts for that packet
// alone, and is looked at again with what follows.
func (t *Table) early(i int32, data []byte) {
	t.stream.early = true
	if f := &t.flows[i]; f.done { // the answer lies in the flow, and is still to be read
		f.done, f.state, f.protocol, f.nameLen, f.alpnLen = false, names.More, Unknown, 0, 0
		t.openBuffer(i)
		t.pool.Add(f.buffer, 0, data)
	}
}

// segment takes data at an offset from what is read next.
func (t *Table) segment(i int32, at int64, data []byte) {
	f := &t.flows[i]
	if at < 0 {
		if -at >= int64(len(data)) { // all of it was read
			t.stored(i)
			return
		}
		data, at = data[-at:], 0
	}
	if at > 0 && f.buffer == none {
		t.openBuffer(i)
	}
	if f.buffer != none {
		t.pool.Add(f.buffer, at, data)
		data = t.pool.Bytes(f.buffer)
	}
	switch {
	case f.buffer != none && t.pool.Contradicts(f.buffer):
		t.settle(i, names.TooLong, nil, nil)
		t.stored(i)
	case len(data) == 0: // a gap before it
		if t.pool.Full(f.buffer) {
			t.settle(i, names.TooLong, nil, nil)
		}
		t.stored(i)
	case f.protocol == DNS:
		t.stream = stream{flow: i, bytes: data}
	default:
		t.decode(i, data)
		t.stored(i)
	}
}

// decode reads what is there of a stream, which lies in the packet or in a buffer.
func (t *Table) decode(i int32, data []byte) {
	f := &t.flows[i]
	if f.protocol == Unknown {
		f.protocol = HTTP
		if data[0] == recordHandshake || data[0] == recordAlert {
			f.protocol = TLS
		}
	}
	if f.protocol == TLS {
		h, s := t.hello.Stream(data, t.text)
		t.decoded(i, data, s, h.Name, h.ALPN)
		return
	}
	name, s := http1.Request(data, t.text)
	t.decoded(i, data, s, name, nil)
}

func (t *Table) decoded(i int32, data []byte, s names.State, name, alpn []byte) {
	f := &t.flows[i]
	if s == names.More {
		if f.buffer == none {
			t.openBuffer(i)
			t.pool.Add(f.buffer, 0, data)
		}
		if !t.pool.Full(f.buffer) {
			return
		}
		s = names.TooLong
	}
	if s == names.None {
		f.protocol = Unknown
	}
	t.settle(i, s, name, alpn)
}

// nextQuestion reads the next message of the stream.
func (t *Table) nextQuestion() (r Result, ok bool) {
	w := &t.stream
	if w.flow == none {
		return Result{}, false
	}
	r = Result{State: names.More, Protocol: DNS}
	if w.at < len(w.bytes) {
		q, name, size, s := dns.Stream(w.bytes[w.at:], t.text)
		if s != names.More {
			w.at += size
			r = Result{State: s, Protocol: DNS, Name: name, Question: q}
			w.given, w.last = true, r
			return r, true
		}
	}
	// The beginning of a message has no result beside those before it.
	if w.given {
		return Result{}, false
	}
	w.given = true
	return r, true
}

// Accept tells that the packet goes on: what was asked in it is done. To be called after
// all results.
func (t *Table) Accept() {
	w := &t.stream
	if w.flow == none {
		return
	}
	i := w.flow
	w.flow = none
	f := &t.flows[i]
	if w.early {
		w.at = 0
	}
	if w.at > 0 {
		t.keep(f, w.last.State, w.last.Name, nil)
		f.start += uint32(w.at)
	}
	if f.buffer == none {
		if rest := w.bytes[min(w.at, len(w.bytes)):]; len(rest) > 0 {
			t.openBuffer(i)
			t.pool.Add(f.buffer, 0, rest)
		}
	} else if w.at > 0 {
		t.pool.Consume(f.buffer, w.at, t.now)
		if t.pool.Empty(f.buffer) {
			t.closeBuffer(i)
		}
	}
	if f.buffer != none && t.pool.Full(f.buffer) {
		t.settle(i, names.TooLong, nil, nil)
	}
}
