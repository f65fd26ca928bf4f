package traffic

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Bounds of a flood.
const (
	MaxFloodPackets = 500_000_000 // whose ledger takes some 80 MB
	MaxSegments     = 64          // UDP_MAX_SEGMENTS of the first kernels that had it; 128 since 6.2
)

// FloodConfig says what RunFlood sends. DefaultFlood has the values to start from. Fields that ClashConfig has as well
// mean the same.
type FloodConfig struct {
	Target      netip.Addr `json:"target"`
	Port        uint16     `json:"port"`
	AllowTarget netip.Addr `json:"allow_target,omitzero"`
	ReceiveAt   netip.Addr `json:"receive_at,omitzero"`

	// Flows are as many sockets, which live as long as the run; they cycle over Sources.
	Sources []netip.Addr `json:"sources"`
	Flows   int          `json:"flows"`

	// Packets and Duration, whichever comes first, end the run; without a Duration Packets does.
	Packets  int           `json:"packets"`
	Duration time.Duration `json:"-"`
	Size     int           `json:"size"` // bytes of payload

	// Threads share the flows. Each gives a system call Batch messages at most, and each message Segments packets,
	// which the kernel separates (UDP GSO, UDP_SEGMENT, Linux 4.18); 1: no GSO. A flow has its turn of Batch times
	// Segments packets, then the next one has.
	Threads  int `json:"threads"`
	Batch    int `json:"batch"`
	Segments int `json:"segments"`

	// Pace is in packets a second, of all threads. A packet carries the time at which it was due, so that a stall shows
	// in the latency of all that it delayed.
	Pace Pace `json:"pace"`

	// Blind does without a receiver: loss and latency are not measured.
	Blind bool `json:"blind"`

	SenderNetns   string        `json:"sender_netns,omitempty"`
	ReceiverNetns string        `json:"receiver_netns,omitempty"`
	Seed          uint64        `json:"seed"`
	SendTimeout   time.Duration `json:"-"` // of a send that waits for buffer
	Timeout       time.Duration `json:"-"`
	Linger        time.Duration `json:"-"`
	ReceiveBuffer int           `json:"receive_buffer"`
}

// DefaultFlood is a short run over loopback.
func DefaultFlood() FloodConfig {
	d := DefaultClash()
	return FloodConfig{
		Target: d.Target, Port: d.Port,
		Flows: 8, Packets: 1_000_000, Size: d.Size,
		Threads: 1, Batch: 64, Segments: 1,
		SendTimeout: time.Second, Timeout: d.Timeout, Linger: d.Linger, ReceiveBuffer: d.ReceiveBuffer,
	}
}

// MarshalJSON writes durations as Go writes them.
func (c FloodConfig) MarshalJSON() ([]byte, error) {
	type plain FloodConfig
	return json.Marshal(struct {
		plain
		Duration    string `json:"duration"`
		SendTimeout string `json:"send_timeout"`
		Timeout     string `json:"timeout"`
		Linger      string `json:"linger"`
	}{plain(c), c.Duration.String(), c.SendTimeout.String(), c.Timeout.String(), c.Linger.String()})
}

// Validate returns every problem at once.
func (c *FloodConfig) Validate() error {
	// What both have in common is held to the same bounds.
	common := DefaultClash()
	common.Target, common.Port, common.AllowTarget, common.ReceiveAt = c.Target, c.Port, c.AllowTarget, c.ReceiveAt
	common.Sources, common.Flows, common.Size = c.Sources, c.Flows, c.Size
	common.Pace, common.Duration, common.FlowTimeout = c.Pace, c.Duration, c.SendTimeout
	common.Timeout, common.Linger, common.ReceiveBuffer = c.Timeout, c.Linger, c.ReceiveBuffer
	errs := []error{common.Validate()}
	for _, bound := range []struct {
		name         string
		n, low, high int
	}{
		{"packets", c.Packets, 1, MaxFloodPackets},
		{"threads", c.Threads, 1, MaxThreads},
		{"batch", c.Batch, 1, MaxBurst},
		{"segments", c.Segments, 1, MaxSegments},
	} {
		if bound.n < bound.low || bound.n > bound.high {
			errs = append(errs, fmt.Errorf("%s %d: want %d to %d", bound.name, bound.n, bound.low, bound.high))
		}
	}
	if c.Threads > c.Flows {
		errs = append(errs, fmt.Errorf("threads %d: %d flows leave some with nothing to send; want as many at most",
			c.Threads, c.Flows))
	}
	if c.Segments*c.Size > MaxPayload {
		errs = append(errs, fmt.Errorf("segments %d of %d bytes: one message holds %d bytes at most", c.Segments, c.Size,
			MaxPayload))
	}
	return errors.Join(errs...)
}

// floodBlock is how many packets of a flow make one flow of the ledger, whose sequence numbers have 16 bits. Order is
// looked at within a block.
const floodBlock = 1024

// A floodPlan says which packet of a thread goes where: a pure function of its number.
type floodPlan struct {
	threads, flows int // of the run
	turn           int // packets that a flow sends before the next one
	blocks         int // of each flow
}

func (c *FloodConfig) plan() floodPlan {
	p := floodPlan{threads: c.Threads, flows: c.Flows, turn: c.Batch * c.Segments}
	for t := range c.Threads {
		turns := p.turn * p.flowsOf(t)
		p.blocks = max(p.blocks, ((p.share(t, c.Packets)+turns-1)/turns*p.turn+floodBlock-1)/floodBlock)
	}
	return p
}

// flowsOf is how many flows a thread has: t, t+threads, t+2*threads, ...
func (p floodPlan) flowsOf(thread int) int { return (p.flows - thread + p.threads - 1) / p.threads }

// share is how many of the run's packets a thread sends.
func (p floodPlan) share(thread, packets int) int {
	return (packets - thread + p.threads - 1) / p.threads
}

// at says which flow (by its number among the thread's) packet n of a thread is of, and which packet of that flow it
// is.
func (p floodPlan) at(thread, n int) (flow, number int) {
	round := p.turn * p.flowsOf(thread)
	return n % round / p.turn, n/round*p.turn + n%p.turn
}

// block is the first flow in the ledger of a thread's flow. Packet number n of the flow is in the block n/floodBlock
// from there on.
func (p floodPlan) block(thread, flow int) uint32 {
	return uint32((thread + flow*p.threads) * p.blocks)
}

// due is when packet n of a thread is, counted from the start: the threads take turns.
func (p floodPlan) due(pace Pace, thread, n int) time.Duration {
	return pace.Due(uint64(n)*uint64(p.threads) + uint64(thread))
}
