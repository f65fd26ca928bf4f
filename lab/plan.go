package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"verdictd/internal/report"
)

// The dimensions of the matrix, by the names that --only and the report use.
const (
	placement = iota
	family
	fanout
	nat
	guard
	backend
	events

	dimensions
)

var dimensionNames = [dimensions]string{"placement", "family", "fanout", "nat", "guard", "backend", "events"}

// values are what each dimension may be, in the order of the report.
var values = [dimensions][]string{
	placement: {"none", "pre-conntrack", "notrack", "output", "postrouting", "input", "forward", "verdict3"},
	family:    {"ipv4", "ipv6"},
	fanout:    {"balance", "cpu", "ports", "numgen"},
	nat:       {"none", "masquerade"},
	guard:     {"off", "reinject", "drop"},
	backend:   {"mmsg", "gonfqueue"},
	events:    {"none", "listener", "off"},
}

// A row is one run to be done: a value for each dimension.
type row [dimensions]string

// plain is the row that the others vary.
var plain = row{placement: "output", family: "ipv4", fanout: "balance", nat: "none", guard: "off", backend: "mmsg", events: "none"}

// baseline is the row without a queue, in which nothing but the family can vary.
func baseline(inFamily string) row {
	return row{placement: "none", family: inFamily, fanout: "none", nat: "none", guard: "off", backend: "none", events: "none"}
}

func (r row) queued() bool { return r[placement] != "none" }

// echoes says whether the receiver answers: verdict3 queues the replies, too.
func (r row) echoes() bool { return r[placement] == "verdict3" }

// run is the row's entry in the report, still without figures.
func (r row) run() report.Run {
	return report.Run{
		Placement: r[placement], Family: r[family], Fanout: r[fanout], NAT: r[nat],
		Guard: r[guard], Backend: r[backend], Events: r[events],
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
// exposed, on; the fan-outs that tear flows apart where packets are queued once, late and twice; and around output each other
// choice at least once. Ports says that the kernel can hash ports.
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
	add(map[int]string{placement: "pre-conntrack"}, both, "off")
	add(map[int]string{placement: "notrack"}, both, "off")
	add(nil, both, "off", "reinject", "drop")
	if ports {
		add(map[int]string{fanout: "ports"}, both, "off", "reinject")
	}
	add(map[int]string{backend: "gonfqueue"}, v4, "off", "reinject")
	add(map[int]string{events: "listener"}, v4, "off", "reinject")
	for _, p := range []string{"postrouting", "input", "forward", "verdict3"} {
		add(map[int]string{placement: p}, both, "off", "reinject")
	}
	for _, p := range []string{"output", "postrouting", "verdict3"} {
		add(map[int]string{placement: p, fanout: "cpu"}, both, "off", "reinject")
		add(map[int]string{placement: p, fanout: "numgen"}, both, "off", "reinject")
	}
	add(map[int]string{placement: "forward", nat: "masquerade"}, both, "off", "reinject")
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
			return f, fmt.Errorf("--only %s: there is no %q to choose by; there are %s", s, key, strings.Join(dimensionNames[:], ", "))
		}
		if !slices.Contains(values[d], value) {
			return f, fmt.Errorf("--only %s: there is no %s %q; there are %s", s, key, value, strings.Join(values[d], ", "))
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
// matrix matches is taken as a wish for that very combination.
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
	if slices.Contains(f[placement], "none") {
		return nil, fmt.Errorf("--only: placement none has no queue, so only family can be chosen with it")
	}
	if slices.Contains(f[nat], "masquerade") {
		if len(f[placement]) == 0 {
			f[placement] = []string{"forward"}
		}
		if !slices.Equal(f[placement], []string{"forward"}) {
			return nil, fmt.Errorf("--only: nat masquerade needs a router: it goes with placement forward alone")
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
				wanted = []string{"off", "reinject"}
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
	return rows, nil
}
