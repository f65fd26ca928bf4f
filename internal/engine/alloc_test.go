//go:build !race

package engine

import (
	"testing"
	"time"

	"verdictd/internal/flow"
	"verdictd/internal/nfq"
	"verdictd/internal/policy"
)

// TestNoAllocation is off under the race detector, which allocates itself.
func TestNoAllocation(t *testing.T) {
	rules, err := policy.Compile(policy.Accept, []policy.Rule{{Action: policy.Drop, DestinationPorts: []policy.PortRange{{First: 9, Last: 9}}}})
	if err != nil {
		t.Fatal(err)
	}
	packets := make([]nfq.Packet, 64)
	for i := range packets {
		packets[i] = nfq.Packet{Payload: udp(uint16(i/2), byte(i))} // half of them further ones
	}
	for i := range packets {
		packets[i].Of = uint8(i % 3) // unknown, confirmed, unconfirmed
	}
	for name, change := range map[string]func(*Config){
		"guard off":  func(c *Config) { c.Guard = GuardOff },
		"guard drop": func(c *Config) { c.Guard = GuardDrop },
		"reinject":   func(*Config) {},
		"analysis": func(c *Config) {
			c.Analysis = Analysis{Distribution: DistributionLogNormal, Delay: 1, PerFlow: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{
				Queues: 1, Guard: GuardReinject, Mark: 1, Policy: rules,
				Flows:     flow.Config{Flows: 1 << 10, Grace: time.Microsecond, Idle: time.Millisecond},
				Open:      func(nfq.Config) (nfq.Queue, error) { return &nullQueue{}, nil },
				NewSender: func() (Sender, error) { return nullSender{}, nil },
			}
			change(&cfg)
			e, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			b := &nfq.Batch{Packets: packets}
			step := func() {
				b.EmptyAt, b.Received = nfq.Now()-1, nfq.Now()
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
