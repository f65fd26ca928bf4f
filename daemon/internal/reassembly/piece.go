package reassembly

import "bytes"

// Add brings a packet's piece of a flow: data belongs at offset at from the flow's
// beginning, which may be negative. It reports whether Bytes has become longer.
func (p *Pool) Add(i int32, at int64, data []byte) (grown bool) {
	f := &p.flows[i]
	if f.packets >= int32(p.cfg.Packets) {
		return false
	}
	f.packets++
	if at < 0 {
		if -at >= int64(len(data)) {
			p.Counters.Useless++
			return false
		}
		data, at = data[-at:], 0
	}
	if at >= int64(p.cfg.Bytes) || len(data) == 0 {
		p.Counters.Useless++
		return false
	}
	data = data[:min(len(data), p.cfg.Bytes-int(at))]
	before := len(p.Bytes(i))
	if !p.insert(f, p.buffer(i), span{int32(at), int32(int(at) + len(data))}, data) {
		p.Counters.Useless++
	}
	return len(p.Bytes(i)) > before
}

// insert copies what is not there yet, and reports whether there was such.
func (p *Pool) insert(f *flow, buffer []byte, s span, data []byte) (fresh bool) {
	// first is the first piece that touches s, last the one behind all that do.
	first := int32(0)
	for first < f.spans && f.span[first].to < s.from {
		first++
	}
	last, at, conflict := first, s.from, false
	merged := s
	for ; last < f.spans && f.span[last].from <= s.to; last++ {
		old := f.span[last]
		if at < old.from {
			fresh = true
			copy(buffer[at:old.from], data[at-s.from:])
		}
		if from, to := max(s.from, old.from), min(s.to, old.to); from < to {
			conflict = conflict || !bytes.Equal(buffer[from:to], data[from-s.from:to-s.from])
		}
		at = max(at, old.to)
		merged.from, merged.to = min(merged.from, old.from), max(merged.to, old.to)
	}
	if at < s.to {
		fresh = true
		copy(buffer[at:s.to], data[at-s.from:])
	}
	if conflict {
		f.conflict = true
		p.Counters.Conflicts++
	}
	// Each packet adds one piece at most, so that there is room for one.
	copy(f.span[first+1:], f.span[last:f.spans])
	f.span[first] = merged
	f.spans += 1 - (last - first)
	return fresh
}

func (p *Pool) buffer(i int32) []byte {
	return p.memory[int(i)*p.cfg.Bytes : (int(i)+1)*p.cfg.Bytes : (int(i)+1)*p.cfg.Bytes]
}

// Bytes are those from the flow's beginning that are there without a gap, until the
// buffer is closed or changed.
func (p *Pool) Bytes(i int32) []byte {
	f := &p.flows[i]
	if f.spans == 0 || f.span[0].from > 0 {
		return nil
	}
	return p.buffer(i)[:f.span[0].to]
}

// Full reports that the flow has had its share: no piece can change Bytes any more.
func (p *Pool) Full(i int32) bool {
	return p.flows[i].packets >= int32(p.cfg.Packets) || len(p.Bytes(i)) == p.cfg.Bytes
}

// Contradicts reports that some of the bytes came with another content, too: which of the two a
// receiver takes is not known.
func (p *Pool) Contradicts(i int32) bool { return p.flows[i].conflict }

// Empty reports that there are no bytes at all.
func (p *Pool) Empty(i int32) bool { return p.flows[i].spans == 0 }

// Reset forgets all bytes, and not how many packets came or how old the buffer is.
func (p *Pool) Reset(i int32) { p.flows[i].spans, p.flows[i].conflict = 0, false }

// Consume moves the flow's beginning by n bytes, which may be more than are there. What
// was read has done its part: packets and age begin again. It moves the bytes behind in
// memory, so several messages are to be consumed in one call.
func (p *Pool) Consume(i int32, n int, now int64) {
	f := &p.flows[i]
	n = min(n, p.cfg.Bytes)
	buffer, kept := p.buffer(i), int32(0)
	if f.spans > 0 {
		copy(buffer, buffer[n:max(n, int(f.span[f.spans-1].to))])
	}
	for _, s := range f.span[:f.spans] {
		s.from, s.to = max(s.from-int32(n), 0), s.to-int32(n)
		if s.to > 0 {
			f.span[kept] = s
			kept++
		}
	}
	f.spans, f.packets, f.since = kept, kept, now
	p.ages.Renew(i)
}
