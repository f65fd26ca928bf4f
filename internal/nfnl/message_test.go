package nfnl

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
)

// TestEncoder reads back with mdlayher/netlink what the Encoder laid out.
func TestEncoder(t *testing.T) {
	var e Encoder
	e.Begin(Type(3, 1), 2, 0x1234)
	e.Uint32Pair(2, 1, 77)
	e.Raw(10, []byte("odd"))
	nest := e.BeginNested(11)
	e.Uint32(8, 5)
	e.EndNested(nest)
	e.End()
	first := e.Len()
	e.Begin(Type(3, 3), 0, 7)
	e.End()

	b := e.Bytes()
	m, rest, ok := Next(b)
	if !ok || m.Type != 0x0301 || m.Flags != unix.NLM_F_REQUEST || len(rest) != len(b)-first {
		t.Fatalf("first message: %+v, %d bytes left, %v", m, len(rest), ok)
	}
	if id, ok := m.Resource(); !ok || id != 0x1234 {
		t.Errorf("resource %#x, %v", id, ok)
	}
	if m.Body[0] != 2 {
		t.Errorf("family %d, want 2", m.Body[0])
	}
	attrs, err := netlink.UnmarshalAttributes(m.Attributes())
	if err != nil || len(attrs) != 3 {
		t.Fatalf("attributes: %v, %v", attrs, err)
	}
	for i, want := range []netlink.Attribute{
		{Type: 2, Data: []byte{0, 0, 0, 1, 0, 0, 0, 77}},
		{Type: 10, Data: []byte("odd")},
		{Type: 11 | netlink.Nested, Data: []byte{8, 0, 8, 0, 0, 0, 0, 5}},
	} {
		if attrs[i].Type != want.Type || !bytes.Equal(attrs[i].Data, want.Data) {
			t.Errorf("attribute %d: %v, want %v", i, attrs[i], want)
		}
	}
	if m, rest, ok = Next(rest); !ok || m.Type != 0x0303 || len(rest) != 0 {
		t.Errorf("second message: %+v, %d bytes left, %v", m, len(rest), ok)
	}
	if _, _, ok = Next(rest); ok {
		t.Error("found a third message")
	}
}

func TestAttributesSeeWhatMdlayherWrites(t *testing.T) {
	b, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: 1, Data: []byte{1}},
		{Type: 2 | netlink.Nested, Data: []byte{1, 2, 3, 4}},
		{Type: 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	a := Attributes(b)
	for _, want := range []struct {
		typ  uint16
		data []byte
	}{{1, []byte{1}}, {2, []byte{1, 2, 3, 4}}, {3, nil}} {
		typ, data, ok := a.Next()
		if !ok || typ != want.typ || !bytes.Equal(data, want.data) {
			t.Errorf("attribute %d %v %v, want %d %v", typ, data, ok, want.typ, want.data)
		}
	}
	if _, _, ok := a.Next(); ok {
		t.Error("found a fourth attribute")
	}
}

func TestAck(t *testing.T) {
	for _, test := range []struct {
		m     Message
		errno unix.Errno
		ok    bool
	}{
		{Message{Type: unix.NLMSG_ERROR, Body: []byte{0, 0, 0, 0}}, 0, true},
		{Message{Type: unix.NLMSG_ERROR, Body: []byte{0xfe, 0xff, 0xff, 0xff}}, unix.ENOENT, true},
		{Message{Type: unix.NLMSG_ERROR, Body: []byte{0}}, 0, false},
		{Message{Type: unix.NLMSG_DONE, Body: []byte{0, 0, 0, 0}}, 0, false},
	} {
		if errno, ok := test.m.Ack(); errno != test.errno || ok != test.ok {
			t.Errorf("%+v: %v, %v; want %v, %v", test.m, errno, ok, test.errno, test.ok)
		}
	}
}

// TestEcho reads the message that a refusal sends back, whole or cut.
func TestEcho(t *testing.T) {
	var e Encoder
	e.Begin(Type(3, 1), 0, 7)
	e.Seq(42)
	e.Uint32Pair(2, 1, 99)
	e.End()
	body := append([]byte{0xfe, 0xff, 0xff, 0xff}, e.Bytes()...)
	for cut := range len(e.Bytes()) - 16 {
		m := Message{Type: unix.NLMSG_ERROR, Body: body[:len(body)-cut]}
		sent, ok := m.Echo()
		if !ok || sent.Type != Type(3, 1) || sent.Seq != 42 {
			t.Fatalf("%d bytes cut: %+v, %v", cut, sent, ok)
		}
		if attrs := sent.Attributes(); cut == 0 {
			if typ, data, ok := attrs.Next(); !ok || typ != 2 || len(data) != 8 || data[7] != 99 {
				t.Errorf("attribute %d %v, %v", typ, data, ok)
			}
		}
	}
	for _, m := range []Message{{Type: unix.NLMSG_ERROR, Body: body[:19]}, {Type: unix.NLMSG_DONE, Body: body}, {Type: unix.NLMSG_ERROR}} {
		if sent, ok := m.Echo(); ok {
			t.Errorf("%+v sends back %+v", m, sent)
		}
	}
}

// FuzzNext walks arbitrary bytes: it must end, and stay inside them.
func FuzzNext(f *testing.F) {
	var e Encoder
	e.Begin(Type(3, 0), 0, 1)
	e.Uint32(3, 4)
	e.End()
	f.Add(e.Bytes())
	f.Add([]byte{16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, file := range []string{"../ct/testdata/events.txt", "../nfq/testdata/queue.txt"} {
		var several []byte
		for i, b := range testkit.Recorded(f, file) {
			if several = append(several, b...); i%5 == 4 {
				f.Add(several)
				several = nil
			}
		}
	}
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for rest := b; ; {
			m, next, ok := Next(rest)
			if !ok {
				return
			}
			if len(next) >= len(rest) {
				t.Fatal("no progress over messages")
			}
			m.Ack()
			m.Echo()
			m.Resource()
			for a := m.Attributes(); ; {
				before := len(a)
				if _, _, ok := a.Next(); !ok {
					break
				}
				if len(a) >= before {
					t.Fatal("no progress over attributes")
				}
			}
			rest = next
		}
	})
}

// TestPeek: what it says of any bytes is what Head and Next say.
func TestPeek(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		b := make([]byte, random.IntN(60))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		if len(b) >= 4 && random.IntN(4) > 0 {
			binary.NativeEndian.PutUint32(b, uint32(random.IntN(64)))
		}
		typ, resource, attributes, complete := Peek(b)
		m, ok := Head(b)
		_, _, whole := Next(b)
		id, _ := m.Resource()
		if typ != m.Type || resource != id || !bytes.Equal(attributes, m.Attributes()) || complete != whole || !ok && typ != 0 {
			t.Fatalf("%x: %#x %d %x %v", b, typ, resource, attributes, complete)
		}
	}
}
