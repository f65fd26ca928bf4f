package policy

import (
	"fmt"

	"verdictd/daemon/internal/policy/bytematch"
)

// defaultRegexpBytes is how many bytes an expression looks at where nobody says.
const defaultRegexpBytes = 1024

// maxPacket is beyond every offset in a packet.
const maxPacket = 0xffff

// payload are the conditions on what is behind the upper layer's header.
func (c *compiler) payload(m *Match) (list []condition, err error) {
	if len(m.Payload) > 0 {
		for i := range m.Payload {
			b := &m.Payload[i]
			if b.Offset < 0 || b.Offset > maxPacket || len(b.Bytes) == 0 || b.Mask != nil && len(b.Mask) != len(b.Bytes) {
				return nil, fmt.Errorf("payload: %d bytes at %d with a mask of %d: bytes are needed, from 0 to 65535, and a mask as long as they", len(b.Bytes), b.Offset, len(b.Mask))
			}
			c.needs.Payload = max(c.needs.Payload, b.Offset+len(b.Bytes))
		}
		list = append(list, condition{key: "payload", has: hasPayload, holds: func(d *Decider) Value {
			payload := d.in.View.Payload()
			for i := range m.Payload {
				if !m.Payload[i].in(payload) {
					return No
				}
			}
			return Yes
		}})
	}
	if m.Regexp == "" {
		return list, nil
	}
	r, err := bytematch.Compile(m.Regexp)
	if err != nil {
		return nil, fmt.Errorf("regexp %q: %w", m.Regexp, err)
	}
	c.regexps = append(c.regexps, r)
	c.needs.Payload = max(c.needs.Payload, c.regexpBytes)
	most := c.regexpBytes
	return append(list, condition{key: "regexp", has: hasPayload, holds: func(d *Decider) Value {
		payload := d.in.View.Payload()
		if payload == nil {
			return No
		}
		whole := !d.in.View.Truncated() && len(payload) <= most
		return valueOf(r.Match(payload[:min(len(payload), most)], whole, &d.scratch))
	}}), nil
}

func (b *PayloadBytes) in(payload []byte) bool {
	if len(payload) < b.Offset+len(b.Bytes) {
		return false
	}
	for i, c := range b.Bytes {
		mask := byte(0xff)
		if b.Mask != nil {
			mask = b.Mask[i]
		}
		if (payload[b.Offset+i]^c)&mask != 0 {
			return false
		}
	}
	return true
}

// hasPayload is the payload's beginning.
func hasPayload(d *Decider) string {
	const most = 32
	payload := d.in.View.Payload()
	if len(payload) <= most {
		return fmt.Sprintf("%x", payload)
	}
	return fmt.Sprintf("%x and %d bytes more", payload[:most], len(payload)-most)
}
