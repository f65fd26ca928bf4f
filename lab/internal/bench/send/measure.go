package send

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"verdictd/internal/netlab"
	"verdictd/internal/results"
	"verdictd/lab/internal/testbed"
)

// What all fast senders send alike.
const (
	sendSize     = 64 // bytes of payload
	sendBatch    = 64 // messages in one sendmmsg
	sendFlows    = 8
	sendSegments = 16 // packets in a message with GSO
	sendPort     = 9
)

// The path of the fast senders: out through one end of a veth pair, and in at the other end, where each packet is
// thrown away at once, as the hardware address that it is sent to is nobody's. So all of them are measured with the
// same way behind them, and the packets are counted by the kernel where they come in.
var (
	sendSource = netip.MustParsePrefix("198.51.100.1/24")
	sendTarget = netip.MustParseAddr("198.51.100.99")
	nobody     = net.HardwareAddr{0x02, 0, 0, 0, 0, 0xfe}
)

const (
	nearLink = "eth0"
	farLink  = "eth1"
)

// A senderKind is one program in one way of use.
type senderKind struct {
	name string
	what string // for the table
	// clashes: measured is not how fast it is but how many of its packets clash.
	clashes bool
}

// senders are what is compared, in the order in which each round measures them.
var senders = []senderKind{
	{name: "flood", what: "stress flood: UDP sockets, sendmmsg; each packet numbered, stamped and checksummed for " +
		"the ledger"},
	{name: "flood+gso", what: "the same with UDP_SEGMENT; the kernel cuts the packets apart before the interface"},
	{name: "c", what: "lab/reference/send_reference.c: UDP sockets, sendmmsg, the same bytes again and again"},
	{name: "trafgen", what: "trafgen: AF_PACKET with a transmit ring, the same frame again and again, past the UDP, " +
		"IP and netfilter code"},
	{name: "clash", what: "stress clash: bursts of two packets from two threads, aimed", clashes: true},
	{name: "udpclash", what: "stress clash --udpclash: the kernel's selftest, 128 threads with one packet each",
		clashes: true},
}

// Names are the senders, in their order.
func Names() []string {
	names := make([]string, len(senders))
	for i := range senders {
		names[i] = senders[i].name
	}
	return names
}

// provokes says whether a sender's clashes are what is measured.
func provokes(name string) bool { return name == "clash" || name == "udpclash" }

// A comparison starts senders.
type comparison struct {
	stress, reference, trafgen string
	packets, clashing          int
}

// A sample is one sender in one round.
type sample struct {
	Round  int    `json:"round"`
	Sender string `json:"sender"`
	// Invalid says why the figures do not count; empty if they do.
	Invalid string `json:"invalid"`
	// Of a fast sender: what the CPU time of the whole program, and the time of a clock, rose by for Packets more
	// packets.
	Packets          uint64   `json:"packets"`
	CPUPerPacket     *float64 `json:"cpu_us_per_packet"`
	PerCPUSecond     *float64 `json:"packets_per_cpu_second"`
	PacketsPerSecond *float64 `json:"packets_per_second"`
	// Of one that provokes clashes.
	Clashes *uint64 `json:"clashes"`
}

func (s *sample) Of() (sender string, round int, invalid string) {
	return s.Sender, s.Round, s.Invalid
}

func (s *sample) Figures() string {
	if s.Clashes != nil {
		return fmt.Sprintf("%d clashes of %d packets", *s.Clashes, s.Packets)
	}
	return fmt.Sprintf("%.3f us, %.0f packets a second of a core", *s.CPUPerPacket, *s.PerCPUSecond)
}

// canRun says why a sender cannot be measured on this machine.
func (b *comparison) canRun(name string) error {
	switch name {
	case "c":
		if b.reference == "" {
			return errors.New("no --reference given; cc -O2 -o bin/send_reference lab/reference/send_reference.c " +
				"makes one")
		}
		_, err := exec.LookPath(b.reference)
		return err
	case "trafgen":
		found, err := exec.LookPath(b.trafgen)
		if err != nil {
			return fmt.Errorf("%w; it is in the package netsniff-ng", err)
		}
		b.trafgen, err = filepath.Abs(found) // it is run in another folder
		return err
	}
	return nil
}

// measure is one sender's turn. Whatever was started is gone when it returns.
func (b *comparison) measure(ctx context.Context, s senderKind, dir string, into *sample) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory for the sender's files: %w", err)
	}
	g := testbed.NewGroup(ctx, dir)
	defer g.Close()
	if s.clashes {
		return b.provoke(g, s.name, into)
	}
	near, far, err := sendPath()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, near.Close(), far.Close()) }()
	// What it takes to start is the same for few packets and for many, and so is in neither's difference.
	few := b.packets / 10
	first, err := b.run(g, s.name, near, far, few)
	if err != nil {
		return err
	}
	second, err := b.run(g, s.name, near, far, few+b.packets)
	if err != nil {
		return err
	}
	return into.between(first, second)
}

// between takes over how two runs differ.
func (s *sample) between(few, many sendRun) error {
	if many.packets <= few.packets || many.cpu <= few.cpu || many.took <= few.took {
		return fmt.Errorf("%d packets took %v and %v of CPU time, %d took %v and %v: this machine is too busy, or "+
			"--packets too small",
			few.packets, few.took, few.cpu, many.packets, many.took, many.cpu)
	}
	s.Packets = many.packets - few.packets
	packets, cpu := float64(s.Packets), (many.cpu - few.cpu).Seconds()
	perPacket, perCore, rate := cpu*1e6/packets, packets/cpu, packets/(many.took-few.took).Seconds()
	s.CPUPerPacket, s.PerCPUSecond, s.PacketsPerSecond = &perPacket, &perCore, &rate
	return nil
}

// sendPath makes the namespaces at both ends.
func sendPath() (near, far *netlab.NetNS, err error) {
	if near, err = netlab.NewNetNS(); err != nil {
		return nil, nil, err
	}
	if far, err = netlab.NewNetNS(); err != nil {
		return nil, nil, errors.Join(err, near.Close())
	}
	err = netlab.AddVeth(netlab.Endpoint{NetNS: near, Link: nearLink, Addresses: []netip.Prefix{sendSource}},
		netlab.Endpoint{NetNS: far, Link: farLink})
	if err == nil {
		err = errors.Join(near.AddNeighbor(nearLink, sendTarget, nobody), near.SeparateSegments(nearLink))
	}
	if err != nil {
		return nil, nil, errors.Join(err, near.Close(), far.Close())
	}
	return near, far, nil
}

// A sendRun is one start of a sender.
type sendRun struct {
	packets   uint64 // that came in at the far end
	cpu, took time.Duration
}

func (b *comparison) run(g *testbed.Group, name string, near, far *netlab.NetNS, packets int) (r sendRun, err error) {
	program, args, err := b.command(g.Dir, name, packets)
	if err != nil {
		return r, err
	}
	before, err := far.ReceivedPackets(farLink)
	if err != nil {
		return r, err
	}
	begun := time.Now()
	// trafgen wants to write to the folder in which it is.
	p, err := g.StartIn(near, g.Dir, program, args...)
	if err != nil {
		return r, err
	}
	const perPacket = 200 * time.Microsecond // on a machine that is very busy
	if err := p.Wait(testbed.StopWithin + time.Duration(packets)*perPacket); err != nil {
		return r, err
	}
	r.took = time.Since(begun)
	state := p.Cmd.ProcessState
	r.cpu = state.UserTime() + state.SystemTime()
	after, err := far.ReceivedPackets(farLink)
	if err != nil {
		return r, err
	}
	r.packets = after - before
	const strangers = 100 // neighbor and router discovery
	if r.packets < uint64(packets) || r.packets > uint64(packets)+strangers {
		return r, fmt.Errorf("%d packets came in at the far end of %d that %s was to send%s", r.packets, packets, name,
			p.Stderr.Quote(testbed.Quoted))
	}
	return r, nil
}

// command is how a fast sender is started.
func (b *comparison) command(dir, name string, packets int) (program string, args []string, err error) {
	count := strconv.Itoa(packets)
	switch name {
	case "c":
		return b.reference, []string{
			"--target", sendTarget.String(), "--port", strconv.Itoa(sendPort), "--packets", count, "--size",
			strconv.Itoa(sendSize),
			"--batch", strconv.Itoa(sendBatch), "--flows", strconv.Itoa(sendFlows), "--cpu", "0",
		}, nil
	case "trafgen":
		config := filepath.Join(dir, "frame.cfg")
		return b.trafgen, []string{"--dev", nearLink, "--conf", config, "--num", count, "--cpus", "1",
				"--no-cpu-stats"},
			os.WriteFile(config, []byte(trafgenFrame()), 0o600)
	}
	segments := 1
	if name == "flood+gso" {
		segments = sendSegments
	}
	return b.stress, []string{
		"flood", "--blind", "--target", sendTarget.String(), "--port", strconv.Itoa(sendPort), "--packets", count,
		"--size", strconv.Itoa(sendSize), "--batch", strconv.Itoa(sendBatch), "--flows", strconv.Itoa(sendFlows),
		"--segments", strconv.Itoa(segments), "--timeout", "10m",
	}, nil
}

// trafgenFrame is what the others' packets look like on the wire, in trafgen's words.
func trafgenFrame() string {
	const udp, ip = 8, 20
	return fmt.Sprintf("{\n eth(da=%s, proto=0x800),\n ipv4(saddr=%s, daddr=%s, ttl=64, prot=17, len=%d),\n "+
		"udp(sp=4000, dp=%d, len=%d),\n fill(0x5a, %d)\n}\n",
		nobody, sendSource.Addr(), sendTarget, ip+udp+sendSize, sendPort, udp+sendSize, sendSize)
}

// provoke counts the clashes of a run that makes namespaces of its own.
func (b *comparison) provoke(g *testbed.Group, name string, into *sample) error {
	const perSelftest, perBurst = 128, 2
	args := []string{"clash", "--topology", "router", "--nat", "dnat", "--flow-timeout", "1s", "--timeout", "2m",
		"--json", "-"}
	if name == "udpclash" {
		args = append(args, "--udpclash", "--flows", strconv.Itoa(b.clashing/perSelftest))
	} else {
		args = append(args, "--burst", strconv.Itoa(perBurst), "--threads", "2", "--flows",
			strconv.Itoa(b.clashing/perBurst))
	}
	here, err := netlab.NewNetNS()
	if err != nil {
		return err
	}
	p, err := g.Start(here, true, nil, b.stress, args...)
	if err == nil {
		const bound = 3 * time.Minute
		err = p.Wait(bound)
	}
	if err := errors.Join(err, here.Close()); err != nil {
		return err
	}
	var o struct {
		Sent uint64 `json:"sent"`
		results.Conntrack
	}
	if err := testbed.Decode("stress", p.Stdout.Bytes(), &o, "sent", "clashes", "conntrack_unread"); err != nil {
		return err
	}
	if o.Clashes == nil {
		return fmt.Errorf("its clashes cannot be counted: %s", o.ConntrackUnread)
	}
	into.Packets, into.Clashes = o.Sent, o.Clashes
	return nil
}
