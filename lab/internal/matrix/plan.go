package matrix

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"verdictd/internal/report"
	"verdictd/internal/vocabulary"
)

// The dimensions of the matrix, by the names that --only and the report use.
const (
	placement = iota
	family
	fanout
	nat
	kind
	guard
	program
	backend
	events

	dimensions
)

var dimensionNames = [dimensions]string{"placement", "family", "fanout", "nat", "traffic", "guard", "program",
	"backend", "events"}

// values are what each dimension may be, in the order of the report.
var values = [dimensions][]string{
	placement: vocabulary.Placement("").Values(),
	family:    vocabulary.Family("").Values(),
	fanout:    vocabulary.Fanout("").Values(),
	nat:       {report.NATNone, report.NATMasquerade, report.NATBackends},
	kind:      {report.TrafficUDP, report.TrafficBothEnds, report.TrafficICMP},
	guard:     {report.GuardOff, report.GuardHold, report.GuardDrop},
	program:   {report.ProgramVerdictd, report.ProgramLibrary, report.ProgramGo, report.ProgramSuricata},
	backend:   vocabulary.Backend("").Values(),
	events:    {report.EventsNone, report.EventsListener, report.EventsOff},
}

// A row is one run to be done: a value for each dimension.
type row [dimensions]string

// plain is the row that the others vary.
var plain = row{placement: report.PlacementOutput, family: string(vocabulary.IPv4), fanout: report.FanoutBalance,
	nat: report.NATNone, kind: report.TrafficUDP,
	guard: report.GuardOff, program: report.ProgramVerdictd, backend: string(vocabulary.BackendMmsg),
	events: report.EventsNone}

// baseline is the row without a queue, in which nothing but the family can vary.
func baseline(inFamily string) row {
	return row{placement: report.PlacementNone, family: inFamily, fanout: "none", nat: report.NATNone,
		kind:  report.TrafficUDP,
		guard: report.GuardOff, program: "none", backend: "none", events: report.EventsNone}
}

func (r row) queued() bool { return r[placement] != report.PlacementNone }

// echoes says whether the receiver answers: verdict3 queues the replies, too.
func (r row) echoes() bool { return r[placement] == report.PlacementVerdict3 }

// foreign says that another program than verdictd judges.
func (r row) foreign() bool { return r.queued() && r[program] != report.ProgramVerdictd }

// loses says that the row is to lose packets: to the guard, or to clashes that no kernel resolves.
func (r row) loses() bool {
	return r[guard] == report.GuardDrop || r[guard] == report.GuardOff && r[kind] == report.TrafficICMP
}

// run is the row's entry in the report, still without figures.
func (r row) run() report.Run {
	return report.Run{
		Placement: r[placement], Family: r[family], Fanout: r[fanout], NAT: r[nat],
		Traffic: r[kind], Guard: r[guard], Program: r[program], Backend: r[backend], Events: r[events],
		QueuePackets: []uint64{}, ReceivedFrom: []netip.Addr{},
	}
}

// with is the row with some of its values changed.
func (r row) with(changes map[int]string) row {
	for dimension, value := range changes {
		r[dimension] = value
	}
	return r
}

// defaultRows is the matrix that runs when nothing is chosen: every placement with the guard off and, where it is
// exposed, on; the fan-outs that tear flows apart where packets are queued once, late and twice; NAT and the other
// sorts of traffic where a router has the queue; other programs; and around output each other choice at least once.
// Ports says that the kernel can hash ports.
func defaultRows(ports bool) []row {
	var rows []row
	add := func(changes map[int]string, inFamilies []string, guards ...string) {
		for _, f := range inFamilies {
			for _, g := range guards {
				rows = append(rows, plain.with(changes).with(map[int]string{family: f, guard: g}))
			}
		}
	}
	both, v4 := values[family], values[family][:1]
	for _, f := range both {
		rows = append(rows, baseline(f))
	}
	add(map[int]string{placement: report.PlacementPreConntrack}, both, report.GuardOff)
	add(map[int]string{placement: report.PlacementNotrack}, both, report.GuardOff)
	exposed := []string{report.GuardOff, report.GuardHold}
	add(nil, both, report.GuardOff, report.GuardHold, report.GuardDrop)
	if ports {
		add(map[int]string{fanout: report.FanoutPorts}, both, exposed...)
	}
	add(map[int]string{backend: string(vocabulary.BackendGoNFQueue)}, v4, exposed...)
	add(map[int]string{events: report.EventsListener}, v4, exposed...)
	for _, p := range []string{report.PlacementPostrouting, report.PlacementInput, report.PlacementForward,
		report.PlacementVerdict3} {
		add(map[int]string{placement: p}, both, exposed...)
	}
	for _, p := range []string{report.PlacementOutput, report.PlacementPostrouting, report.PlacementVerdict3} {
		add(map[int]string{placement: p, fanout: report.FanoutCPU}, both, exposed...)
		add(map[int]string{placement: p, fanout: report.FanoutNumgen}, both, exposed...)
	}
	for _, n := range []string{report.NATMasquerade, report.NATBackends} {
		add(map[int]string{placement: report.PlacementForward, nat: n}, both, exposed...)
	}
	for _, t := range []string{report.TrafficBothEnds, report.TrafficICMP} {
		for _, p := range []string{report.PlacementOutput, report.PlacementForward} {
			add(map[int]string{placement: p, kind: t}, both, exposed...)
		}
	}
	for _, name := range []string{report.ProgramLibrary, report.ProgramGo} {
		other := map[int]string{program: name, backend: "none"}
		add(other, both, exposed...)
		for _, p := range []string{report.PlacementPostrouting, report.PlacementInput, report.PlacementForward} {
			other[placement] = p
			add(other, v4, exposed...)
		}
	}
	return rows
}

// A filter is one --only: for each dimension the values that are wanted, none meaning any.
type filter [dimensions][]string

// parseFilter reads "key=value,key=value". A key may be repeated to want either value.
func parseFilter(s string) (filter, error) {
	var f filter
	for term := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(term), "=")
		if !ok {
			return f, fmt.Errorf("--only %s: %q is not KEY=VALUE", s, term)
		}
		d := slices.Index(dimensionNames[:], key)
		if d < 0 {
			return f, fmt.Errorf("--only %s: there is no %q to choose by; there are %s", s, key,
				strings.Join(dimensionNames[:], ", "))
		}
		if !slices.Contains(values[d], value) {
			return f, fmt.Errorf("--only %s: there is no %s %q; there are %s", s, key, value,
				strings.Join(values[d], ", "))
		}
		f[d] = append(f[d], value)
	}
	return f, nil
}

func (f filter) matches(r row) bool {
	for d, wanted := range f {
		if len(wanted) > 0 && !slices.Contains(wanted, r[d]) {
			return false
		}
	}
	return true
}

// choose is the rows that some filter wants, each once and in the matrix's order. A filter that no row of the default
// matrix matches asks for that very combination.
func choose(rows []row, filters []filter) ([]row, error) {
	if len(filters) == 0 {
		return rows, nil
	}
	var chosen []row
	var extra []row
	for _, f := range filters {
		matching := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !f.matches(r) })
		chosen = append(chosen, matching...)
		if len(matching) > 0 {
			continue
		}
		combined, err := f.combine()
		if err != nil {
			return nil, err
		}
		extra = append(extra, combined...)
	}
	ordered := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !slices.Contains(chosen, r) })
	for _, r := range extra {
		if !slices.Contains(ordered, r) {
			ordered = append(ordered, r)
		}
	}
	return ordered, nil
}

// combine is every combination of the wanted values; what is not named is as in the plain row, in both families and
// with the guard off and on.
func (f filter) combine() ([]row, error) {
	if slices.Contains(f[placement], report.PlacementNone) {
		return nil, fmt.Errorf("--only: placement none has no queue, so only family can be chosen with it")
	}
	if slices.ContainsFunc(f[nat], func(n string) bool { return n != report.NATNone }) {
		if len(f[placement]) == 0 {
			f[placement] = []string{report.PlacementForward}
		}
		if !slices.Equal(f[placement], []string{report.PlacementForward}) {
			return nil, fmt.Errorf("--only: nat %s needs a router: it goes with placement forward alone",
				strings.Join(f[nat], " and "))
		}
	}
	rows := []row{plain}
	for d := range f {
		wanted := f[d]
		if len(wanted) == 0 {
			switch d {
			case family:
				wanted = values[family]
			case guard:
				wanted = []string{report.GuardOff, report.GuardHold}
			default:
				continue
			}
		}
		var next []row
		for _, r := range rows {
			for _, v := range wanted {
				next = append(next, r.with(map[int]string{d: v}))
			}
		}
		rows = next
	}
	for i := range rows {
		if err := rows[i].settle(len(f[backend]) > 0); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// settle refuses values that do not go together. Backends are verdictd's alone.
func (r *row) settle(backendNamed bool) error {
	plainTraffic := r[kind] == report.TrafficUDP
	switch {
	case !plainTraffic && r[placement] == report.PlacementVerdict3:
		return fmt.Errorf("--only: traffic %s does not go with placement verdict3, where the receiver answers", r[kind])
	case !plainTraffic && r[nat] == report.NATBackends:
		return fmt.Errorf("--only: traffic %s does not go with nat %s: nothing can be sent back from the backend "+
			"that was drawn", r[kind], r[nat])
	case r.foreign() && backendNamed:
		return fmt.Errorf("--only: a backend is verdictd's: it does not go with program %s", r[program])
	case r.foreign() && r[guard] == report.GuardDrop:
		return fmt.Errorf("--only: verdictd guard has guard hold and off; drop does not go with program %s", r[program])
	}
	if r.foreign() {
		r[backend] = "none"
	}
	return nil
}
