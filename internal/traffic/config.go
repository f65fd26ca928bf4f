package traffic

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// Mode is how the packets of one burst come to be sent at once.
type Mode string

const (
	ModeThreads   Mode = "threads"   // several threads send through one socket
	ModeReuseport Mode = "reuseport" // each thread has a socket of its own; SO_REUSEPORT lets them share the flow's 5-tuple
	ModeSendmmsg  Mode = "sendmmsg"  // one thread hands the whole burst over in one system call
	ModeCross     Mode = "cross"     // every other thread sends from the receiver's end, towards the source: both ends begin the flow
	ModeReply     Mode = "reply"     // as ModeCross, but the far end begins when the send of the first packet has returned
)

// Modes are all of them, in the order of their documentation.
var Modes = []Mode{ModeThreads, ModeReuseport, ModeSendmmsg, ModeCross, ModeReply}

// twoWay says whether packets of a burst go in both directions.
func (m Mode) twoWay() bool { return m == ModeCross || m == ModeReply }

// Bounds of a run. Whatever is asked for, a run ends.
const (
	MaxTimeout = 24 * time.Hour
	MaxBurst   = 1024 // what one sendmmsg takes (UIO_MAXIOV)
	MaxThreads = 256
	MaxWindow  = 1 << 16
	MaxSpacing = time.Second
)

// ClashConfig says what RunClash sends. DefaultClash has the values to start from.
type ClashConfig struct {
	// Target and Port are where all flows go; the receiver binds there. An address outside loopback and the
	// documentation ranges must be given in AllowTarget too.
	Target      netip.Addr `json:"target"`
	Port        uint16     `json:"port"`
	AllowTarget netip.Addr `json:"allow_target,omitzero"`

	// ReceiveAt is where the receiver binds when something on the way translates the target's address; none: at Target.
	ReceiveAt netip.Addr `json:"receive_at,omitzero"`

	// Backends are the addresses that something on the way spreads the flows over; the receiver then hears on all
	// addresses, and counts the flows that were split. None: all packets arrive at one address.
	Backends []netip.Addr `json:"backends,omitempty"`

	// Protocol is what flows are made of; empty: UDP.
	Protocol Protocol `json:"protocol"`

	// Sources are the addresses that flows cycle over; none: the one that the kernel would choose. Each gives some
	// 64,500 flows. Ports is the order of source ports.
	Sources []netip.Addr `json:"sources"`
	Ports   PortOrder    `json:"ports"`

	// Flows is how many bursts are sent, Burst how many packets each has in all, Size the length of their payloads.
	Flows int `json:"flows"`
	Burst int `json:"burst"`
	Size  int `json:"size"`

	// Threads share each burst evenly. 0: as many as the burst has packets, at most one a CPU (ModeSendmmsg: one;
	// ModeReuseport, ModeCross and ModeReply: at least two). Sockets is how many share a flow's 5-tuple in
	// ModeReuseport; 0: one for each thread.
	Mode    Mode `json:"mode"`
	Threads int  `json:"threads"`
	Sockets int  `json:"sockets"`

	// Aim makes the threads of a burst wait for one instant, which brings their first packets some 100 ns together
	// where each has a CPU. Without it the thread that leads is ahead by the time that a word takes to another CPU.
	Aim bool `json:"aim"`

	// Spacing is between two packets that one thread sends of a burst; not for ModeSendmmsg.
	Spacing time.Duration `json:"-"`

	// Outstanding bounds the flows in flight; 0: no bound. A flow leaves when its packets have arrived (with Echo: come
	// back), or FlowTimeout after it was sent. FlowTimeout also bounds a send that waits for buffer.
	Pace        Pace          `json:"pace"`
	Outstanding int           `json:"outstanding"`
	FlowTimeout time.Duration `json:"-"`

	// Echo makes the receiver return each payload. A flow's sockets stay open while it is in flight.
	Echo bool `json:"echo"`

	// SenderNetns and ReceiverNetns are paths of network namespaces; empty: the process's own.
	SenderNetns   string `json:"sender_netns,omitempty"`
	ReceiverNetns string `json:"receiver_netns,omitempty"`

	// Seed decides the order of ports and the filling of payloads. 0: draw one.
	Seed uint64 `json:"seed"`

	// Duration ends the sending, as does Enough, which is asked now and then, when it returns true. A run that they end
	// is complete. 0 and nil: only Flows does.
	Duration time.Duration `json:"-"`
	Enough   func() bool   `json:"-"`

	// Timeout bounds the whole run, Linger within it the wait for stragglers after the last send. Linger ends early
	// once everything has arrived and nothing more did for a while.
	Timeout time.Duration `json:"-"`
	Linger  time.Duration `json:"-"`

	// ReceiveBuffer is asked for as the receiver's socket buffer; without CAP_NET_ADMIN the kernel grants
	// net.core.rmem_max at most.
	ReceiveBuffer int `json:"receive_buffer"`
}

// DefaultClash is a small complete run over loopback.
func DefaultClash() ClashConfig {
	return ClashConfig{
		Target:        netip.AddrFrom4([4]byte{127, 0, 0, 1}),
		Port:          9999,
		Protocol:      ProtocolUDP,
		Ports:         PortsShuffled,
		Flows:         1000,
		Burst:         4,
		Size:          64,
		Mode:          ModeThreads,
		Aim:           true,
		Outstanding:   64,
		FlowTimeout:   50 * time.Millisecond,
		Timeout:       time.Minute,
		Linger:        500 * time.Millisecond,
		ReceiveBuffer: 32 << 20,
	}
}

// ChooseSeed draws a seed where none is given.
func ChooseSeed(given uint64) uint64 {
	for given == 0 {
		given = uint64(rand.Uint32()) // 32 bits survive JSON readers that have only floating point
	}
	return given
}

// MarshalJSON writes durations as Go writes them ("50ms").
func (c ClashConfig) MarshalJSON() ([]byte, error) {
	type plain ClashConfig
	return json.Marshal(struct {
		plain
		Spacing     string `json:"spacing"`
		Duration    string `json:"duration"`
		FlowTimeout string `json:"flow_timeout"`
		Timeout     string `json:"timeout"`
		Linger      string `json:"linger"`
	}{plain(c), c.Spacing.String(), c.Duration.String(), c.FlowTimeout.String(), c.Timeout.String(), c.Linger.String()})
}

func (c *ClashConfig) target() netip.AddrPort { return netip.AddrPortFrom(c.Target, c.Port) }

// receiveAt is where the receiver binds.
func (c *ClashConfig) receiveAt() netip.AddrPort {
	switch {
	case len(c.Backends) > 0 && c.Target.Is6():
		return netip.AddrPortFrom(netip.IPv6Unspecified(), c.Port)
	case len(c.Backends) > 0:
		return netip.AddrPortFrom(netip.IPv4Unspecified(), c.Port)
	case c.ReceiveAt.IsValid():
		return netip.AddrPortFrom(c.ReceiveAt, c.Port)
	}
	return c.target()
}

// Capacity is how many flows the sources give.
func (c *ClashConfig) Capacity() int { return max(1, len(c.Sources)) * portsPerSource(c.Port) }

// Validate returns every problem at once.
func (c *ClashConfig) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	inRange := func(name string, v, low, high int) {
		if v < low || v > high {
			bad("%s %d: want %d to %d", name, v, low, high)
		}
	}
	if err := CheckTarget(c.Target, c.AllowTarget); err != nil {
		errs = append(errs, err)
	}
	if c.Port == 0 {
		bad("port 0: want 1 to 65535")
	}
	if c.ReceiveAt.IsValid() && c.Target.IsValid() && c.ReceiveAt.Is4() != c.Target.Is4() {
		bad("receiver's address %s and target %s are of different families", c.ReceiveAt, c.Target)
	}
	errs = append(errs, c.validateProtocol()...)
	if c.Ports != PortsShuffled && c.Ports != PortsSequential {
		bad("ports %q: want %s or %s", c.Ports, PortsShuffled, PortsSequential)
	}
	for i, source := range c.Sources {
		switch {
		case !source.IsValid() || source.IsUnspecified() || source.IsMulticast() || source.Is4In6() || source.Zone() != "":
			bad("source %s: want the plain address of an interface", source)
		case c.Target.IsValid() && source.Is4() != c.Target.Is4():
			bad("source %s and target %s are of different families", source, c.Target)
		case slices.Contains(c.Sources[:i], source):
			bad("source %s: given twice; its flows would not be new", source)
		}
	}
	if c.Flows < 1 {
		bad("flows %d: want at least 1", c.Flows)
	} else if capacity := c.Capacity(); c.Flows > capacity {
		bad("flows %d: %d source address(es) with %d ports each give %d flows that are new to conntrack; name %d or more source addresses",
			c.Flows, max(1, len(c.Sources)), portsPerSource(c.Port), capacity,
			(c.Flows+portsPerSource(c.Port)-1)/portsPerSource(c.Port))
	}
	inRange("burst", c.Burst, 1, MaxBurst)
	inRange("size", c.Size, HeaderSize, MaxPayload)
	errs = append(errs, c.validateThreads()...)
	if err := c.Pace.validate(); err != nil {
		errs = append(errs, err)
	}
	inRange("outstanding", c.Outstanding, 0, MaxWindow)
	if c.keepsSockets() && c.Outstanding == 0 {
		bad("outstanding 0: where packets come back each flow in flight keeps its sockets open, so their number must be bounded")
	}
	errs = append(errs, c.validateTimes()...)
	if c.ReceiveBuffer < 1 || c.ReceiveBuffer > 1<<30 {
		bad("receive buffer %d: want 1 to %d bytes", c.ReceiveBuffer, 1<<30)
	}
	return errors.Join(errs...)
}

// validateTimes is about what bounds a run.
func (c *ClashConfig) validateTimes() (errs []error) {
	if c.FlowTimeout <= 0 {
		errs = append(errs, fmt.Errorf("flow timeout %s: want more than zero", c.FlowTimeout))
	}
	if c.Timeout <= 0 || c.Timeout > MaxTimeout {
		errs = append(errs, fmt.Errorf("timeout %s: want more than zero and at most %s", c.Timeout, MaxTimeout))
	}
	if c.Duration < 0 || c.Duration > MaxTimeout {
		errs = append(errs, fmt.Errorf("duration %s: want zero (no bound) to %s", c.Duration, MaxTimeout))
	}
	if c.Linger < 0 || c.Linger >= c.Timeout {
		errs = append(errs, fmt.Errorf("linger %s: want zero or more, and less than the timeout of %s, which bounds the whole run", c.Linger, c.Timeout))
	}
	return errs
}

func (c *ClashConfig) validateProtocol() (errs []error) {
	if c.Protocol != "" && !slices.Contains(Protocols, c.Protocol) {
		errs = append(errs, fmt.Errorf("protocol %q: want one of %v", c.Protocol, Protocols))
	}
	if c.Protocol == ProtocolICMP && (c.Echo || c.Mode.twoWay() || c.Mode == ModeReuseport || len(c.Backends) > 0) {
		errs = append(errs, fmt.Errorf("protocol %s: goes one way, in mode %s or %s, to one address; the kernel of the target answers by itself", c.Protocol, ModeThreads, ModeSendmmsg))
	}
	if len(c.Backends) > 0 && (c.Echo || c.Mode.twoWay() || c.ReceiveAt.IsValid()) {
		errs = append(errs, errors.New("several backends: nothing can be sent back from the address that a packet arrived at"))
	}
	for _, b := range c.Backends {
		if !b.IsValid() || c.Target.IsValid() && b.Is4() != c.Target.Is4() {
			errs = append(errs, fmt.Errorf("backend %s and target %s are of different families", b, c.Target))
		}
	}
	return errs
}

func (c *ClashConfig) validateThreads() (errs []error) {
	if !slices.Contains(Modes, c.Mode) {
		errs = append(errs, fmt.Errorf("mode %q: want one of %v", c.Mode, Modes))
	}
	switch {
	case c.Threads < 0 || c.Threads > MaxThreads:
		errs = append(errs, fmt.Errorf("threads %d: want 1 to %d, or 0 to choose", c.Threads, MaxThreads))
	case c.Threads > c.Burst:
		errs = append(errs, fmt.Errorf("threads %d: a burst of %d leaves some with nothing to send; want as many at most",
			c.Threads, c.Burst))
	case c.Mode == ModeSendmmsg && c.Threads > 1:
		errs = append(errs, fmt.Errorf("threads %d: mode %s sends from one", c.Threads, c.Mode))
	case c.Mode == ModeReuseport && (c.Threads == 1 || c.Burst < 2):
		errs = append(errs, fmt.Errorf("threads %d, burst %d: mode %s wants two at least, or there are no twins", c.Threads,
			c.Burst, c.Mode))
	case c.Mode.twoWay() && (c.Threads == 1 || c.Burst < 2):
		errs = append(errs, fmt.Errorf("threads %d, burst %d: mode %s wants two at least, one for each end", c.Threads,
			c.Burst, c.Mode))
	}
	if c.Mode.twoWay() && c.Echo {
		errs = append(errs, fmt.Errorf("echo with mode %s: both ends send already; leave one of them out", c.Mode))
	}
	if c.Sockets != 0 && (c.Mode != ModeReuseport || c.Sockets < 2 || c.Threads > 0 && c.Sockets > c.Threads) {
		errs = append(errs, fmt.Errorf("sockets %d: only mode %s has several, 2 to as many as threads", c.Sockets,
			ModeReuseport))
	}
	if c.Spacing < 0 || c.Spacing > MaxSpacing || c.Spacing > 0 && c.Mode == ModeSendmmsg {
		errs = append(errs, fmt.Errorf("spacing %s: want zero to %s, and zero with mode %s, which sends all in one call",
			c.Spacing, MaxSpacing, ModeSendmmsg))
	}
	return errs
}

// keepsSockets says whether a flow's sockets are received on, and so stay open while it is in flight.
func (c *ClashConfig) keepsSockets() bool { return c.Echo || c.Mode.twoWay() }

// perFlow is how many sockets a flow has at the sender's end.
func (c *ClashConfig) perFlow() int {
	switch {
	case c.Mode != ModeReuseport:
		return 1
	case c.Sockets > 0:
		return min(c.Sockets, c.Threads)
	}
	return c.Threads
}

// chooseThreads is what Threads 0 stands for.
func (c *ClashConfig) chooseThreads(cpus int) int {
	switch {
	case c.Threads > 0:
		return c.Threads
	case c.Mode == ModeSendmmsg:
		return 1
	case c.Mode == ModeReuseport || c.Mode.twoWay():
		return min(c.Burst, max(2, cpus, c.Sockets), MaxThreads)
	default:
		return min(c.Burst, cpus, MaxThreads)
	}
}
