package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/alecthomas/kong"

	"verdictd/internal/traffic"
	"verdictd/stress/internal/way"
)

// netnsFlags name the namespaces that a scenario sends from and receives in.
type netnsFlags struct {
	SenderNetns   string `help:"Network namespace to send from, by its name (ip netns) or path." placeholder:"NAME|PATH"`
	ReceiverNetns string `help:"Network namespace to receive in, by its name (ip netns) or path." placeholder:"NAME|PATH"`
}

// wayFlags are where the packets of a scenario run: through namespaces that somebody else made, or through ones of
// stress's own.
type wayFlags struct {
	Topology string `help:"Make network namespaces for the run: loopback (one host), veth (two) or router (a third between them); conntrack is active in the router, or else at the receiver. Default: the namespaces that --sender-netns and --receiver-netns name, or the process's own." enum:",loopback,veth,router" default:"" placeholder:"loopback|veth|router" not:"sender-netns,receiver-netns,target,source"`
	NAT      string `name:"nat" help:"none; masquerade: the router translates source addresses and ports; dnat: packets go to an address that is translated to the receiver's; backends: to one of two of the receiver's, drawn at random for each conntrack entry." enum:"none,masquerade,dnat,backends" default:"none" placeholder:"none|masquerade|dnat|backends"`

	netnsFlags
}

// way is what the flags say, for a family.
func (f *wayFlags) way(family string) way.Config {
	return way.Config{Topology: f.Topology, NAT: f.NAT, Family: family, Sender: f.SenderNetns, Receiver: f.ReceiverNetns}
}

// check says what goes with a topology only.
func (f *wayFlags) check() error {
	switch {
	case f.Topology == "" && f.NAT != "none":
		return fmt.Errorf("--nat %s: needs namespaces of its own; add --topology router", f.NAT)
	case f.NAT == "masquerade" && f.Topology != "router":
		return errors.New("--nat masquerade: only a router masquerades; give --topology router")
	}
	return nil
}

// placesFlags say where a scenario sends and receives that makes its namespaces, with the addresses of both families,
// unless something is named: wayFlags' counterpart for scenarios that have no business in the process's own.
type placesFlags struct {
	netnsFlags
	Topology string `help:"Namespaces to make where neither they nor addresses are named: loopback (one host), veth (two) or router (a third between them). Default: veth." enum:",loopback,veth,router" default:"" placeholder:"loopback|veth|router" not:"sender-netns,receiver-netns,target,source"`
}

// way is what the flags say, for a family if that matters.
func (f *placesFlags) way(family string) way.Config {
	return way.Config{Topology: f.Topology, Family: family, Sender: f.SenderNetns, Receiver: f.ReceiverNetns}
}

// named says whether the caller gave a namespace.
func (f *placesFlags) named() bool { return f.SenderNetns != "" || f.ReceiverNetns != "" }

// trafficFlags are those of clash and flood alike: where packets go and by which way, and what bounds the run.
type trafficFlags struct {
	Target      netip.Addr   `help:"Address that all packets go to; the receiver binds there. Default: loopback of the family." placeholder:"ADDR"`
	Port        uint16       `help:"Port that all packets go to." default:"${port}"`
	Family      string       `help:"ipv4 or ipv6; with --target it must agree. Default: that of --target, or ipv4." enum:",ipv4,ipv6" default:"" placeholder:"ipv4|ipv6"`
	AllowTarget netip.Addr   `help:"Name a target outside loopback and the documentation ranges once more, to say that it is yours. Without it: no other target." placeholder:"ADDR"`
	Source      []netip.Addr `help:"Source address; repeatable, flows cycle over them. Default: the kernel's choice." placeholder:"ADDR"`

	wayFlags

	Duration      time.Duration `help:"End after this time. Without it: after all packets."`
	Size          int           `help:"Bytes of UDP payload." default:"${size}"`
	Timeout       time.Duration `help:"Bound of the whole run." default:"${timeout}"`
	Linger        time.Duration `help:"Wait for stragglers, within the timeout." default:"${linger}"`
	ReceiveBuffer int           `help:"Socket buffer of the receiver, in bytes." default:"${receive_buffer}"`

	JSON string `name:"json" help:"Write the result to a file; - is standard output, instead of the summary." placeholder:"FILE"`
}

// trafficDefaults shows the defaults of traffic.DefaultClash in the flags above; traffic.DefaultFlood has the same.
func trafficDefaults() kong.Vars {
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
func (f *trafficFlags) target() (netip.Addr, error) {
	switch {
	case !f.Target.IsValid() && f.Family == "ipv6":
		return netip.IPv6Loopback(), nil
	case !f.Target.IsValid():
		return traffic.DefaultClash().Target, nil
	case f.Family == "ipv4" && !f.Target.Is4(), f.Family == "ipv6" && !f.Target.Is6():
		return f.Target, fmt.Errorf("family %s: target %s is of the other", f.Family, f.Target)
	}
	return f.Target, nil
}
