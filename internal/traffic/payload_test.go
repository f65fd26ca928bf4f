package traffic

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"testing"
)

var headers = []Header{
	{},
	{Run: 1, Flow: 2, Thread: 3, Seq: 4, Sent: 5},
	{Run: math.MaxUint32, Flow: math.MaxUint32, Thread: math.MaxUint16, Seq: math.MaxUint16, Sent: math.MaxInt64},
}

func TestHeaderRoundTrip(t *testing.T) {
	for _, size := range []int{HeaderSize, HeaderSize + 1, 64, 1400, MaxPayload} {
		for _, h := range headers {
			b := bytes.Repeat([]byte{0xa5}, size)
			h.Put(b)
			got, err := DecodeHeader(b)
			if err != nil || got != h {
				t.Errorf("size %d: %+v, %v; want %+v", size, got, err, h)
			}
			if !bytes.Equal(b[HeaderSize:], bytes.Repeat([]byte{0xa5}, size-HeaderSize)) {
				t.Errorf("size %d: the filling was touched", size)
			}
		}
	}
}

func TestEveryDamageIsSeen(t *testing.T) {
	good := make([]byte, 64)
	headers[1].Put(good)
	for bit := range len(good) * 8 {
		b := bytes.Clone(good)
		b[bit/8] ^= 1 << (bit % 8)
		if h, err := DecodeHeader(b); err == nil {
			t.Errorf("bit %d flipped: taken as %+v", bit, h)
		}
	}
	for size := range good {
		_, err := DecodeHeader(good[:size])
		if want := ErrChecksum; size < HeaderSize {
			want = ErrShort
			if !errors.Is(err, want) {
				t.Errorf("cut to %d: %v, want %v", size, err, want)
			}
		} else if !errors.Is(err, want) {
			t.Errorf("cut to %d: %v, want %v", size, err, want)
		}
	}
	if _, err := DecodeHeader(append(bytes.Clone(good), 0)); !errors.Is(err, ErrChecksum) {
		t.Errorf("a byte longer: %v, want %v", err, ErrChecksum)
	}
	if _, err := DecodeHeader(make([]byte, 64)); !errors.Is(err, ErrMagic) {
		t.Errorf("zeros: %v, want %v", err, ErrMagic)
	}
}

func FuzzDecodeHeader(f *testing.F) {
	for _, h := range headers {
		b := make([]byte, 64)
		h.Put(b)
		f.Add(b)
		f.Add(b[:HeaderSize])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := DecodeHeader(b)
		l := NewLedger(h.Run, 8, 4, 2)
		_, outcome := l.Record(b, netip.AddrPort{})
		if (err != nil) && outcome != Corrupt {
			t.Fatalf("%v, but the ledger says %v", err, outcome)
		}
		if err != nil {
			return
		}
		again := bytes.Clone(b)
		h.Put(again)
		if !bytes.Equal(again, b) {
			t.Fatalf("%+v encodes to %x, came from %x", h, again, b)
		}
	})
}
