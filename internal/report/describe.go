package report

import (
	"strconv"
	"strings"
)

// Term is a word of the report with what it means.
type Term struct {
	Word    string
	Meaning string
}

// placements are in the order in which a report shows them: from "no queue" to
// the most exposed one.
var placements = []Term{
	{PlacementNone, "no queue and no daemon: clashes of threads that send at the same instant, on CPUs of their own"},
	{PlacementPreConntrack, "queued before conntrack looks the packet up (priority -300 in OUTPUT and PREROUTING): no clash by construction while a flow keeps to one queue"},
	{PlacementNotrack, "queued after a rule took the traffic out of conntrack"},
	{"output", "queued in mangle OUTPUT: packets of a local program, looked up but not yet confirmed"},
	{"postrouting", "queued in mangle POSTROUTING: packets on their way out, shortly before the confirm"},
	{"input", "queued in mangle INPUT: packets from a peer over veth to a local program"},
	{"forward", "queued in mangle FORWARD of a router between two peers"},
	{"verdict3", "queued first in INPUT and first in POSTROUTING: requests from a peer and the replies to it"},
}

var guards = []Term{
	{GuardOff, "nothing stands before the queue: how other NFQUEUE programs run"},
	{GuardHold, "a gate before conntrack holds further packets of a flow until conntrack has confirmed the first"},
	{GuardDrop, "those further packets are dropped"},
}

var fanouts = []Term{
	{"balance", "a hash of the two addresses chooses the queue"},
	{"cpu", "the CPU that handles the packet chooses the queue: one flow may reach two queues"},
	{"ports", "a hash of addresses and ports chooses the queue"},
	{FanoutNumgen, "the queues take turns: one flow reaches all of them; each packet of a burst is sent by a thread of its own, as no order can be kept"},
}

var nats = []Term{
	{NATBackends, "packets go to an address that is translated to one of two backends, drawn at random for each conntrack entry"},
	{NATMasquerade, "the router gives flows its own address, and a port drawn at random for each conntrack entry"},
}

var programs = []Term{
	{ProgramLibrary, "a C program on libnetfilter_queue in verdictd's place, unchanged; with a guard, verdictd guard runs beside it"},
	{ProgramGo, "the same on florianl/go-nfqueue"},
	{ProgramSuricata, "the installed Suricata, with one thread for each queue, and without the analysis delay"},
}

var traffics = []Term{
	{TrafficBothEnds, "half of each burst comes from the far end: both begin the flow at the same instant, as WireGuard and RTP do"},
	{TrafficICMP, "echo requests; the kernel drops every packet that loses a clash"},
}

var backends = []Term{
	{"mmsg", "verdictd's own: receives and verdicts in batches"},
	{"gonfqueue", "the reference on florianl/go-nfqueue: one packet, one verdict at a time"},
}

var columns = []Term{
	{"clashes", "how often conntrack found two entries for one flow, per 1,000 packets sent"},
	{"lost, dup, reord", "packets that never arrived, arrived twice, or overtook an earlier one of their flow"},
	{"moved", "packets that left from another address or port than the first one of their flow"},
	{"p50, p99", "microseconds from receiving a packet from the queue to its verdict, the analysis delay included; with such a delay the daemon takes one packet at a time"},
	{"split", "flows whose packets arrived at more than one backend"},
	{"held", "packets that waited in the gate"},
}

// describe returns the terms that occur in the runs, in their fixed order.
func describe(rep *Report, terms []Term, of func(*Run) string) []Term {
	var out []Term
	for _, t := range terms {
		for i := range rep.Runs {
			if of(&rep.Runs[i]) == t.Word {
				out = append(out, t)
				break
			}
		}
	}
	return out
}

func placementOf(r *Run) string { return r.Placement }
func guardOf(r *Run) string     { return r.Guard }
func fanoutOf(r *Run) string    { return r.Fanout }
func backendOf(r *Run) string   { return r.Backend }
func natOf(r *Run) string       { return r.NAT }
func programOf(r *Run) string   { return r.Program }
func trafficOf(r *Run) string   { return r.Traffic }

// Count is a number with commas between thousands, as all pages have it.
func Count(n int) string { return count(n) }

// count writes a whole number with its thousands apart.
func count[T int | uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// rate writes clashes per 1,000 packets. A rate above zero never reads as 0.
func rate(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x < 0.1:
		return "<0.1"
	}
	return strconv.FormatFloat(x, 'f', 1, 64)
}

// micros writes microseconds with as many digits as help.
func micros(x float64) string {
	if x < 10 {
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return count(int(x + 0.5))
}

// duration writes microseconds in the unit that suits them.
func duration(us float64) string {
	unit := "µs"
	switch {
	case us >= 999.5e3: // rounds to 1,000 of the smaller unit
		us, unit = us/1e6, "s"
	case us >= 999.5:
		us, unit = us/1e3, "ms"
	}
	return strconv.FormatFloat(us, 'g', 3, 64) + " " + unit
}
