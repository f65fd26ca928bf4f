package hello

import (
	"encoding/binary"

	"verdictd/daemon/internal/names"
)

const (
	recordHeaderLen = 5
	recordAlert     = 21
	recordHandshake = 22
	// maxRecord is what a record holds at most (RFC 8446, 5.1).
	maxRecord = 1 << 14
	// maxMajor: servers look at the first byte of the version hardly, crypto/tls as here.
	maxMajor = 0x10
	// maxWarnings is how many alerts servers pass over before a hello, crypto/tls as here.
	maxWarnings = 16

	alertWarning     = 1
	alertCloseNotify = 0
)

// Decoder joins hellos that are spread over records. It may be used for many streams, by
// one goroutine.
type Decoder struct {
	joined []byte
}

// NewDecoder makes a decoder for hellos of up to size bytes.
func NewDecoder(size int) *Decoder {
	return &Decoder{joined: make([]byte, 0, min(size, headerLen+maxHello))}
}

// Stream reads the ClientHello that b, bytes of a TCP stream, begins with, and appends
// the name to dst. It returns TooLong as soon as a hello says that it is longer than the
// decoder's size.
func (d *Decoder) Stream(b, dst []byte) (h Hello, s names.State) {
	d.joined = d.joined[:0]
	for warnings := 0; ; {
		r, s := cutRecord(b)
		if s != names.Known {
			return Hello{}, s
		}
		b = r.rest
		if r.kind == recordAlert {
			if warnings++; warnings > maxWarnings || r.content[0] != alertWarning || r.content[1] == alertCloseNotify {
				return Hello{}, names.None
			}
			continue
		}
		warnings = 0
		message := r.content // a hello in one record, as most are, is read where it lies
		if len(d.joined) > 0 {
			message = d.join(message)
		}
		if h, s = Message(message, dst); s != names.More {
			return h, s
		}
		if Size(message) > cap(d.joined) || len(message) > cap(d.joined) {
			return Hello{}, names.TooLong
		}
		if !r.whole {
			return Hello{}, names.More
		}
		if len(d.joined) == 0 {
			d.join(message)
		}
	}
}

// join appends as much as there is room for.
func (d *Decoder) join(content []byte) []byte {
	d.joined = append(d.joined, content[:min(len(content), cap(d.joined)-len(d.joined))]...)
	return d.joined
}

type record struct {
	kind          byte
	content, rest []byte
	whole         bool // an alert always is
}

// cutRecord takes the first record off. It is Known where something of its content is there.
func cutRecord(b []byte) (r record, s names.State) {
	if len(b) > 0 && b[0] != recordHandshake && b[0] != recordAlert || len(b) > 1 && b[1] >= maxMajor {
		return record{}, names.None
	}
	if len(b) < recordHeaderLen {
		return record{}, names.More
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	if n == 0 || n > maxRecord || b[0] == recordAlert && n != 2 {
		return record{}, names.None
	}
	r = record{kind: b[0], content: b[recordHeaderLen:]}
	if r.whole = len(r.content) >= n; r.whole {
		r.content, r.rest = r.content[:n], r.content[n:]
	} else if len(r.content) == 0 || r.kind == recordAlert {
		return record{}, names.More
	}
	return r, names.Known
}
