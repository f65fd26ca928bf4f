package flood

import (
	"errors"

	"verdictd/internal/traffic"
	"verdictd/stress/internal/way"
)

// Config says what a run does.
type Config struct {
	// Traffic is what is sent. Of its fields that say where, those that the way brings are filled in; Packets is chosen
	// as below.
	Traffic traffic.FloodConfig
	Way     way.Config

	// Packets is how many there are at most; nil: the default, or with a duration as many as that gives.
	Packets *int
	// FailOnLoss makes an error of a packet that is lost.
	FailOnLoss bool
}

// Prepare fills in the packets and lists every problem.
func (c *Config) Prepare() error {
	c.Traffic.Packets = c.packets()
	var errs []error
	if c.Way.NAT == "backends" {
		errs = append(errs, errors.New("--nat backends: only clash hears at several addresses; use dnat"))
	}
	return errors.Join(append(errs, c.Traffic.Validate())...)
}

// packets is how many there are at most. The ledger has a bit for each, so at full speed the bound is one that no
// thread reaches.
func (c *Config) packets() int {
	const perThread = 5_000_000 // a second
	t := &c.Traffic
	switch {
	case c.Packets != nil:
		return *c.Packets
	case t.Duration <= 0:
		return traffic.DefaultFlood().Packets
	case t.Pace.Full():
		return int(min(traffic.MaxFloodPackets, perThread*float64(t.Threads)*t.Duration.Seconds()))
	}
	return int(min(traffic.MaxFloodPackets, 1+t.Pace.Rate*t.Duration.Seconds()))
}

// take has the traffic go where the way leads.
func (c *Config) take(at *way.Way) {
	if !c.Way.Made() {
		return
	}
	t := &c.Traffic
	t.Target, t.ReceiveAt, t.Sources, t.SenderNetns, t.ReceiverNetns = at.Target, at.ReceiveAt, at.Sources, at.Sender,
		at.Receiver
}
