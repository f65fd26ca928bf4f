package flows

import (
	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/hello"
	"verdictd/daemon/internal/names/quic"
)

// initial takes a client's datagram, and answers only where that is not what is stored.
// A flow that has its name already begins again if the datagram opens with keys of its
// own, as that is another connection.
func (t *Table) initial(i int32, data []byte) {
	f := &t.flows[i]
	t.probe = quic.Conn{}
	c := &t.probe
	if f.buffer != none {
		c = &t.conns[f.buffer]
	}
	t.quic.Datagram(data, t.now)
	for frame, ok := t.quic.Next(c); ok; frame, ok = t.quic.Next(c) {
		if f.buffer == none {
			t.restart(i, f.forward)
			f.protocol = QUIC
			t.openBuffer(i)
			t.conns[f.buffer] = t.probe
			c = &t.conns[f.buffer]
		}
		if frame.Restart {
			t.pool.Reset(f.buffer)
			if t.pool.Old(f.buffer, t.now) { // what was before has had its time, and nobody has looked
				t.pool.Consume(f.buffer, 0, t.now)
			}
		}
		t.pool.Add(f.buffer, int64(frame.Offset), frame.Data)
	}
	switch {
	case f.buffer == none && f.done:
		// It may be another connection, which nobody has looked into.
		if t.quic.Seen.Spent {
			t.answer(Result{State: names.TooLong, Protocol: QUIC})
		}
		return
	case f.buffer == none: // for its age: the flow does not wait for ever
		t.openBuffer(i)
		t.conns[f.buffer] = t.probe
		return
	}
	f.id = c.ID()
	if t.pool.Contradicts(f.buffer) {
		t.settle(i, names.TooLong, nil, nil)
		return
	}
	b := t.pool.Bytes(f.buffer)
	h, s := hello.Message(b, t.text)
	if s == names.More && (t.pool.Full(f.buffer) || hello.Size(b) > t.most) {
		s = names.TooLong
	}
	if s != names.More {
		t.settle(i, s, h.Name, h.ALPN)
	}
}
