package engine

import (
	"testing"
	"time"

	"verdictd/internal/flow"
	"verdictd/internal/nfq"
)

// nullQueue takes replies as fast as they come.
type nullQueue struct{ fakeQueue }

func (*nullQueue) Reply(*nfq.Reply) error { return nil }
func (*nullQueue) Flush() error           { return nil }

type nullSender struct{}

func (nullSender) Send([]byte, uint32, uint32) error { return nil }
func (nullSender) Close() error                      { return nil }

// BenchmarkHandle is the worker's own part of a batch of 64 packets, without the
// kernel's: what the guard adds for flows that have settled or are known to be
// confirmed, and for packets that are to be sent anew.
func BenchmarkHandle(b *testing.B) {
	const size = 64
	for name, guard := range map[string]GuardMode{"off": GuardOff, "settled": GuardReinject, "confirmed": GuardReinject, "further": GuardReinject} {
		b.Run(name, func(b *testing.B) {
			e, err := Open(Config{
				Queues: 1, Guard: guard, Mark: 1,
				Flows:     flow.Config{Flows: 1 << 16, Grace: time.Microsecond, Idle: time.Hour},
				Open:      func(nfq.Config) (nfq.Queue, error) { return &nullQueue{}, nil },
				NewSender: func() (Sender, error) { return nullSender{}, nil },
			})
			if err != nil {
				b.Fatal(err)
			}
			batch := &nfq.Batch{Packets: make([]nfq.Packet, size)}
			for i := range batch.Packets {
				batch.Packets[i] = nfq.Packet{Payload: udp(uint16(i), 0)}
				if name == "confirmed" {
					batch.Packets[i].Of = ofConfirmed
				}
			}
			handle := func() {
				batch.Received = nfq.Now()
				if err := e.workers[0].handle(batch); err != nil {
					b.Fatal(err)
				}
			}
			handle() // first packets, then copies, which prove the flows
			handle()
			if name == "settled" {
				time.Sleep(time.Millisecond)
				batch.EmptyAt = nfq.Now()
			}
			b.ReportAllocs()
			for b.Loop() {
				handle()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/packet")
		})
	}
}
