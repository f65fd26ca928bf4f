package clash

import (
	"errors"
	"fmt"

	"verdictd/internal/results"
	"verdictd/internal/traffic"
	"verdictd/stress/internal/way"
)

// Config says what a run does.
type Config struct {
	// Traffic is what is sent. Of its fields that say where, those that the way brings are filled in; Flows is chosen
	// as below.
	Traffic traffic.ClashConfig
	Way     way.Config

	// Flows is how many there are at most; nil: the default, or with Clashes or a duration as many as the addresses
	// give.
	Flows *int
	// Clashes ends the run when conntrack has counted so many; 0: no such end. Fewer are an error.
	Clashes uint64
	// UDPClash sends what the kernel's selftest sends instead.
	UDPClash bool
	// FailOnLoss makes an error of a packet or an echo that is lost.
	FailOnLoss bool
}

// Prepare fills in the flows and lists every problem.
func (c *Config) Prepare() error {
	c.Traffic.Flows = c.flows()
	var udp error
	if c.UDPClash && (c.Traffic.Protocol != traffic.ProtocolUDP || len(c.Traffic.Backends) > 0 ||
		c.Way.NAT == "backends") {
		udp = errors.New("--udpclash sends UDP to one address: leave --protocol, --backend and --nat backends out")
	}
	return errors.Join(udp, c.Traffic.Validate())
}

// flows is how many there are at most.
func (c *Config) flows() int {
	switch {
	case c.Flows != nil:
		return *c.Flows
	case c.Clashes > 0 || c.Traffic.Duration > 0:
		return c.Traffic.Capacity()
	}
	return traffic.DefaultClash().Flows
}

// udpClashFlows is how many rounds there are of what the kernel's selftest sends, unless somebody says otherwise.
const udpClashFlows = 100

// udpClash is the same as far as the selftest's traffic has it.
func (c *Config) udpClash() traffic.UDPClashConfig {
	t := &c.Traffic
	cfg := traffic.UDPClashConfig{
		Target: t.Target, Port: t.Port, AllowTarget: t.AllowTarget, ReceiveAt: t.ReceiveAt, Sources: t.Sources,
		SenderNetns: t.SenderNetns, ReceiverNetns: t.ReceiverNetns,
		Flows: udpClashFlows, FlowTimeout: t.FlowTimeout, Seed: t.Seed,
		Duration: t.Duration, Timeout: t.Timeout, Enough: t.Enough,
	}
	if c.Flows != nil || c.Clashes > 0 || t.Duration > 0 {
		cfg.Flows = t.Flows
	}
	return cfg
}

// take has the traffic go where the way leads.
func (c *Config) take(at *way.Way) {
	if !c.Way.Made() {
		return
	}
	t := &c.Traffic
	t.Target, t.ReceiveAt, t.Sources, t.Backends = at.Target, at.ReceiveAt, at.Sources, at.Backends
	t.SenderNetns, t.ReceiverNetns = at.Sender, at.Receiver
	t.Flows = c.flows() // more addresses, more flows
}

// way is what the result says of it.
func (c *Config) way() results.Way { return results.Way{Topology: c.Way.Topology, NAT: c.Way.NAT} }

// enough is an error where fewer clashes were counted than asked for.
func (c *Config) enough(counted *results.Conntrack) error {
	switch {
	case c.Clashes == 0:
		return nil
	case counted.Clashes == nil:
		return fmt.Errorf("clash: %d clashes wanted, and they could not be counted: %s", c.Clashes, counted.ConntrackUnread)
	case *counted.Clashes < c.Clashes && counted.Untracked != "":
		return fmt.Errorf("clash: no clashes, not the %d wanted: %s", c.Clashes, counted.Untracked)
	case *counted.Clashes < c.Clashes:
		return fmt.Errorf("clash: %d clashes, not the %d wanted, as far as this kernel counts them: %s",
			*counted.Clashes, c.Clashes, counted.ClashesCount)
	}
	return nil
}
