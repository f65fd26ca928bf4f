package quic

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzDatagram: no bytes do harm, and what a client has not sealed is not opened.
func FuzzDatagram(f *testing.F) {
	var known [][]byte
	for _, a := range recorded(f) {
		for _, b := range a.bytes(f)[:2] {
			f.Add(b)
			known = append(known, b)
		}
	}
	f.Add([]byte{0xc0, 0, 0, 0, 1, 0, 0, 0, 20, 0, 0, 0, 0})
	f.Add([]byte{0x80, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		b = slices.Clip(b)
		before := bytes.Clone(b)
		r := newReader(t)
		r.datagram(b, nil)
		r.datagram(b, nil)
		if !bytes.Equal(b, before) {
			t.Fatal("the datagram was changed")
		}
		genuine := slices.ContainsFunc(known, func(k []byte) bool { return bytes.HasPrefix(b, k) || bytes.Contains(b, k[:100]) })
		if r.d.Seen.Opened && !genuine {
			t.Errorf("opened %x", b)
		}
	})
}

// FuzzFrames seals what it is given and reads it back: frames are found exactly where a
// plain reading of RFC 9000 has them.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("ab"), uint32(0), false)
	f.Add(slices.Concat(crypto(3, []byte("def")), ack, crypto(0, []byte("abc")), []byte{framePing, 0, 0, 0x1c}), uint32(7), true)
	f.Add([]byte{frameACK, 0, 0, 0x3f, 0}, uint32(1<<31), true)
	f.Fuzz(func(t *testing.T, plain []byte, number uint32, two bool) {
		if len(plain) > 16000 || number >= 1<<31 {
			return
		}
		version := uint32(Version1)
		if two {
			version = Version2
		}
		d, c := NewDecoder(1000), Conn{}
		d.Datagram(sealed(t, version, idA, idA, source, nil, number, plain), 0)
		var got, want []Frame
		for fr, ok := d.Next(&c); ok; fr, ok = d.Next(&c) {
			got = append(got, Frame{Offset: fr.Offset, Data: bytes.Clone(fr.Data)})
		}
		if !d.Seen.Opened {
			t.Fatalf("%x was not opened: %+v", plain, d.Seen)
		}
		want = plainly(plain)
		if !slices.EqualFunc(got, want, func(a, b Frame) bool { return a.Offset == b.Offset && bytes.Equal(a.Data, b.Data) }) {
			t.Errorf("%x: %+v, want %+v", plain, got, want)
		}
	})
}

// plainly reads frames as the RFC describes them, with a table of their fields: n is a
// number, c as many bytes as the number before says, r two numbers for each that the
// number before the last says.
func plainly(b []byte) (frames []Frame) {
	fields := map[byte]string{0: "", 1: "", 2: "nnnnr", 3: "nnnnrnnn", 6: "nnc"}
	for len(b) > 0 {
		format, known := fields[b[0]]
		kind := b[0]
		b = b[1:]
		if !known {
			return frames
		}
		var n []uint64
		var data []byte
		read := func() bool {
			if len(b) == 0 || len(b) < 1<<(b[0]>>6) {
				return false
			}
			size := 1 << (b[0] >> 6)
			v := uint64(b[0]) & 63
			for _, c := range b[1:size] {
				v = v*256 + uint64(c)
			}
			n, b = append(n, v), b[size:]
			return true
		}
		for _, field := range format {
			switch field {
			case 'n':
				if !read() {
					return frames
				}
			case 'c':
				if n[1] > uint64(len(b)) {
					return frames
				}
				data, b = b[:n[1]], b[n[1]:]
			case 'r':
				for range min(n[2], 1<<20) * 2 {
					if !read() {
						return frames
					}
				}
			}
		}
		if kind == 6 {
			frames = append(frames, Frame{Offset: n[0], Data: data})
		}
	}
	return frames
}
