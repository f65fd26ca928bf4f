package engine

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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
	drop := compiled(b, vocabulary.Drop)
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

// BenchmarkReader is the same with somebody who reads all counters every second, as
// often as a Prometheus that is in a hurry: 16 packets of a batch at a time, and with
// `-benchtime 5s -count 5` both cost the same.
func BenchmarkReader(b *testing.B) {
	const size = 16
	for name, every := range map[string]time.Duration{"none": 0, "each second": time.Second} {
		b.Run(name, func(b *testing.B) {
			e, err := Open(Config{Queues: 1, Open: func(nfq.Config) (nfq.Queue, error) { return &nullQueue{}, nil }})
			if err != nil {
				b.Fatal(err)
			}
			w := e.workers[0]
			stop := make(chan struct{})
			var reader sync.WaitGroup
			if every > 0 {
				reader.Go(func() {
					for ticker := time.NewTicker(every); ; {
						select {
						case <-stop:
							return
						case <-ticker.C:
							e.Results()
						}
					}
				})
			}
			w.window.Shut()
			batch := &nfq.Batch{Packets: make([]nfq.Packet, size)}
			for i := range batch.Packets {
				batch.Packets[i] = nfq.Packet{Payload: udp(uint16(i), 0)}
			}
			began := cpuTime(b)
			for b.Loop() {
				batch.Received = nfq.Now()
				if err := w.handle(batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N)/size, "cpu-ns/packet")
			w.window.Open()
			close(stop)
			reader.Wait()
		})
	}
}

// cpuTime is the process's, in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return r.Utime.Nano() + r.Stime.Nano()
}
