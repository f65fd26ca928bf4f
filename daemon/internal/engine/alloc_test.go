//go:build !race

package engine

import (
	"encoding/binary"
	"testing"
	"time"

	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// TestNoAllocation is off under the race detector, which allocates itself.
func TestNoAllocation(t *testing.T) {
	packets := make([]nfq.Packet, 64)
	for i := range packets {
		packets[i] = nfq.Packet{Payload: udp(uint16(i/2), byte(i))}
	}
	packets[5].Payload = packets[5].Payload[:7] // undecodable
	for name, change := range map[string]func(*Config){
		"plain": func(*Config) {},
		"hints": func(c *Config) { c.Hints = nullHints{} },
		"dropped packets logged": func(c *Config) {
			c.Policy = dropPort(t, 9)
			c.LogDrops = 1 << 20
		},
		"analysis": func(c *Config) {
			c.Analysis = Analysis{Distribution: vocabulary.DistributionLogNormal, Delay: 1, PerFlow: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{
				Queues: 1, Judgement: Judgement{Policy: dropPort(t, 9)},
				Open: func(nfq.Config) (nfq.Queue, error) { return &nullQueue{}, nil },
			}
			change(&cfg)
			e, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			b := &nfq.Batch{Packets: packets}
			step := func() {
				b.Received = nfq.Now()
				if err := e.workers[0].handle(b); err != nil {
					t.Fatal(err)
				}
			}
			step()
			if allocs := testing.AllocsPerRun(200, step); allocs != 0 {
				t.Errorf("%v allocations for a batch of %d packets", allocs, len(packets))
			}
		})
	}
}

// TestNoAllocationForNames: nor for names that are put together of packets that wait, nor
// for what is logged of them.
func TestNoAllocationForNames(t *testing.T) {
	cfg := Config{Queues: 1, Open: func(nfq.Config) (nfq.Queue, error) { return &nullQueue{}, nil }, Hints: nullHints{}}
	holding(t, time.Hour, vocabulary.Drop)(&cfg)
	cfg.Logs = []int{1 << 20}
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	hello := clientHello(t, "blocked.example")
	payloads := [][]byte{tcp(1, flagSYN, 99, nil), tcp(1, flagACK, 100, hello[:500]), tcp(1, flagACK, 600, hello[500:900]), tcp(1, flagACK, 1000, hello[900:])}
	batches := make([]*nfq.Batch, len(payloads))
	for i := range batches {
		batches[i] = numbered(1, payloads[i])
	}
	port := uint16(0)
	step := func() {
		port++
		for i, b := range batches {
			binary.BigEndian.PutUint16(payloads[i][20:], port)
			b.Received = nfq.Now()
			if err := e.workers[0].handle(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	step()
	if allocs := testing.AllocsPerRun(200, step); allocs != 0 {
		t.Errorf("%v allocations for a hello in three segments", allocs)
	}
	if c := e.workers[0].counters; c.Held < 400 || c.Dropped < 600 {
		t.Errorf("%+v", c)
	}
}
