package engine

import (
	"testing"

	"verdictd/daemon/internal/policy"
	"verdictd/internal/nfq"
	"verdictd/internal/packet"
	"verdictd/internal/vocabulary"
)

// nullQueue takes replies as fast as they come.
type nullQueue struct{ fakeQueue }

func (*nullQueue) Reply(*nfq.Reply) error { return nil }
func (*nullQueue) Flush() error           { return nil }

// nullHints wants everything and does nothing.
type nullHints struct{}

func (nullHints) Wanted() bool                { return true }
func (nullHints) Dropped(*packet.Key, uint32) {}
func (nullHints) Returned(int)                {}

// BenchmarkHandle is the worker's own part of a batch of 64 packets, without the
// kernel's.
func BenchmarkHandle(b *testing.B) {
	const size = 64
	drop := policy.Compile(vocabulary.Drop, nil)
	for name, change := range map[string]func(*Config){
		"accept":         func(*Config) {},
		"drop":           func(c *Config) { c.Policy = drop },
		"drop and hints": func(c *Config) { c.Policy, c.Hints = drop, nullHints{} },
	} {
		b.Run(name, func(b *testing.B) {
			cfg := Config{Queues: 1, Open: func(nfq.Config) (nfq.Queue, error) { return &nullQueue{}, nil }}
			change(&cfg)
			e, err := Open(cfg)
			if err != nil {
				b.Fatal(err)
			}
			batch := &nfq.Batch{Packets: make([]nfq.Packet, size)}
			for i := range batch.Packets {
				batch.Packets[i] = nfq.Packet{Payload: udp(uint16(i), 0)}
			}
			b.ReportAllocs()
			for b.Loop() {
				batch.Received = nfq.Now()
				if err := e.workers[0].handle(batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/packet")
		})
	}
}
