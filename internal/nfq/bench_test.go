package nfq

import (
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

// BenchmarkBatch is what reading 64 packets' messages takes, and laying out their verdicts, without the kernel's part
// and the engine's.
func BenchmarkBatch(b *testing.B) {
	const size = 64
	q := &Mmsg{verdicts: newVerdicts([]uint16{0})}
	q.batch.Packets = make([]Packet, 0, size)
	var messages [size][]byte
	for i := range messages {
		messages[i] = packetMessage(uint32(i))
	}
	b.ReportAllocs()
	for b.Loop() {
		q.batch.Packets = q.batch.Packets[:0]
		for i := range messages {
			typ, queue, attributes, complete := nfnl.Peek(messages[i])
			if typ != typePacket {
				b.Fatal("no packet")
			}
			q.take(queue, attributes, complete, i)
		}
		for i := range q.batch.Packets {
			p := &q.batch.Packets[i]
			if err := q.Reply(&Reply{ID: p.ID, Queue: p.Queue, Verdict: Accept}); err != nil {
				b.Fatal(err)
			}
		}
		if m := q.verdicts.take(); len(m) == 0 || !q.verdicts.empty() {
			b.Fatal("no verdict")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/packet")
}

// packetMessage is what the kernel says of a small packet on its way out.
func packetMessage(id uint32) []byte {
	var e nfnl.Encoder
	e.Begin(typePacket, unix.AF_INET, 0)
	e.Raw(nfqaPacketHdr, []byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id), 8, 0, 3})
	e.Uint32(nfqaIfindexOutdev, 1)
	e.Uint32(nfqaSkbInfo, 0)
	e.Raw(nfqaPayload, make([]byte, 92))
	e.End()
	return e.Bytes()
}
