package nfq

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/testkit"
)

// packetOf decodes a message as a batch does.
func packetOf(b []byte) (p Packet, ok bool) {
	m, _, ok := nfnl.Next(b)
	return p, ok && p.decode(m.Attributes())
}

// TestRecordedPackets: what the kernel sent is read, whole ones with their packet.
func TestRecordedPackets(t *testing.T) {
	for i, b := range testkit.Recorded(t, "testdata/queue.txt") {
		p, ok := packetOf(b)
		whole := int(b[0])|int(b[1])<<8 == len(b)
		if whole && (!ok || p.ID == 0 || len(p.Payload) < 20 || p.Payload[0]>>4 != 4 && p.Payload[0]>>4 != 6) {
			t.Errorf("message %d: %v, %+v", i, ok, p)
		}
	}
}

// FuzzPacket reads arbitrary bytes as a message of a queue: a packet's payload is within
// them.
func FuzzPacket(f *testing.F) {
	for _, b := range testkit.Recorded(f, "testdata/queue.txt") {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := packetOf(b)
		if len(b) < unix.SizeofNlMsghdr && ok {
			t.Error("a packet in less than a header")
		}
		if !bytes.Contains(b, p.Payload) || len(p.Payload) > len(b) {
			t.Errorf("a payload of %d bytes from elsewhere", len(p.Payload))
		}
	})
}
