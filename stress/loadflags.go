package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/alecthomas/kong"

	"verdictd/internal/netlab"
	"verdictd/internal/traffic"
)

// loadFlags are those of clash and flood alike: whither packets go and by which way, and what bounds the run.
type loadFlags struct {
	Target      netip.Addr   `help:"Address that all packets go to; the receiver binds there. Default: loopback of the family." placeholder:"ADDR"`
	Port        uint16       `help:"Port that all packets go to." default:"${port}"`
	Family      string       `help:"ipv4 or ipv6; with --target it must agree." enum:",ipv4,ipv6" default:"" placeholder:"ipv4|ipv6"`
	AllowTarget netip.Addr   `help:"Name a target outside loopback and the documentation ranges once more, to say that it is yours." placeholder:"ADDR"`
	Source      []netip.Addr `help:"Source address; repeatable, flows cycle over them. Default: the kernel's choice." placeholder:"ADDR"`

	wayFlags

	Duration      time.Duration `help:"End after this time." placeholder:"TIME"`
	Size          int           `help:"Bytes of UDP payload." default:"${size}"`
	Timeout       time.Duration `help:"Bound of the whole run." default:"${timeout}"`
	Linger        time.Duration `help:"Wait for stragglers, within the timeout." default:"${linger}"`
	ReceiveBuffer int           `help:"Socket buffer of the receiver, in bytes." default:"${receive_buffer}"`

	JSON string `name:"json" help:"Write the result to a file; - is standard output, instead of the summary." placeholder:"FILE"`
}

// loadDefaults shows the defaults of traffic.DefaultClash in the flags above; traffic.DefaultFlood has the same.
func loadDefaults() kong.Vars {
	d := traffic.DefaultClash()
	return kong.Vars{
		"port":           strconv.Itoa(int(d.Port)),
		"size":           strconv.Itoa(d.Size),
		"timeout":        d.Timeout.String(),
		"linger":         d.Linger.String(),
		"receive_buffer": strconv.Itoa(d.ReceiveBuffer),
	}
}

// target is the loopback address of the family unless one is given.
func (c *loadFlags) target() (netip.Addr, error) {
	switch {
	case !c.Target.IsValid() && c.Family == "ipv6":
		return netip.IPv6Loopback(), nil
	case !c.Target.IsValid():
		return traffic.DefaultClash().Target, nil
	case c.Family == "ipv4" && !c.Target.Is4(), c.Family == "ipv6" && !c.Target.Is6():
		return c.Target, fmt.Errorf("family %s: target %s is of the other", c.Family, c.Target)
	}
	return c.Target, nil
}

// addressed are the flags that name addresses and were given.
func (c *loadFlags) addressed() (flags []string) {
	if c.Target.IsValid() {
		flags = append(flags, "--target")
	}
	if len(c.Source) > 0 {
		flags = append(flags, "--source")
	}
	return flags
}

// open is the way that the flags name, or makes one; the caller closes it. Where this process may not make namespaces, the
// program runs once more as root of a user namespace: outside is then true, and there is nothing left to do.
func (c *loadFlags) open(ctx context.Context, s *streams) (at *way, outside bool, err error) {
	if !c.own() {
		return &way{sender: c.SenderNetns, receiver: c.ReceiverNetns}, false, nil
	}
	if outside, err := netlab.Ensure(ctx, "stress", s.stdout, s.stderr); outside {
		return nil, true, err
	}
	at, err = c.make(c.Family)
	return at, false, err
}
