package queue

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"verdictd/internal/netlab"
	"verdictd/internal/vocabulary"
	"verdictd/lab/internal/bench"
	"verdictd/lab/internal/testbed"
)

// conditions are under which a variant is measured. Those of a variant are what differs from the run's settings, and
// its name begins with theirs.
type conditions struct {
	name                    string
	queues, payload, window int
	copied                  int // bytes of each packet that are copied to the program; 0: what it has copied by itself
	family                  string
	flows                   int // of a load of many
	rate                    int // packets a second, at even distances; 0: as many as come through
	placement               vocabulary.Placement
	gateFlows               int // that the guard remembers and lists; 0: its defaults
}

// headers is what is copied of a packet by programs that look at its usual headers alone: IPv6, TCP with options, and
// some. whole is all of it.
const (
	headers = 192
	whole   = vocabulary.MaxCopyRange
)

// What is usual where nothing else is asked for: packets under way at most, and bytes of payload.
const (
	usualWindow  = 256
	usualPayload = 64
)

// usualCase is what is measured where no case is chosen.
const usualCase = "usual"

// cases are the groups of variants, by the names that --case takes.
var cases = map[string][]conditions{
	"queues":  {{name: "2q", queues: 2}},
	"ipv6":    {{name: "ipv6", family: "ipv6"}},
	"sizes":   {{name: "1400B", payload: 1400}, {name: "8000B", payload: 8000}},
	"whole":   {{name: "1400B whole", payload: 1400, copied: whole}, {name: "8000B whole", payload: 8000, copied: whole}},
	"headers": {{name: "1400B headers", payload: 1400, copied: headers}, {name: "8000B headers", payload: 8000, copied: headers}},
	"windows": {{name: "w64", window: 64}, {name: "w2048", window: 2048}, {name: "w32000", window: 32_000}},
	// Where the queue is on the way in, as on most hosts, who sends the packet has been through all rules before it. On
	// the way out the program runs those of the way in, on loopback.
	"input": {{name: "input", placement: vocabulary.PlacementInput}},
}

// CaseNames are what --case takes.
func CaseNames() []string {
	return []string{usualCase, "queues", "ipv6", "sizes", "whole", "headers", "windows", "input"}
}

// ofEachCase are the programs that are measured under other conditions than the usual ones.
var ofEachCase = []variant{
	{base: floorVariant, program: floor, guard: guardOff},
	{base: "c", program: library, guard: guardOff},
	{base: "mmsg", guard: guardOff},
	{base: "mmsg+hold+metrics", guard: guardHold, metrics: true},
}

// chosen are the variants of some cases, in the order of CaseNames; the usual ones where none is named.
func chosen(names []string) (list []variant) {
	for _, name := range CaseNames() {
		switch {
		case len(names) == 0 && name == usualCase, name == usualCase && slices.Contains(names, name):
			list = append(list, variants...)
		case slices.Contains(names, name):
			for _, under := range cases[name] {
				for _, v := range ofEachCase {
					v.at = under
					list = append(list, v)
				}
			}
		}
	}
	return list
}

// knownCases says which names of --case there are not.
func knownCases(names []string) error {
	for _, name := range names {
		if !slices.Contains(CaseNames(), name) {
			return fmt.Errorf("--case %s: there are %s", name, strings.Join(CaseNames(), ", "))
		}
	}
	return nil
}

// ratiosOf are those of the chosen variants that are always shown.
func ratiosOf(list []variant) []bench.Ratio {
	shown := slices.Clone(ratios)
	var seen []string
	for i := range list {
		at := list[i].at.name
		if at == "" || slices.Contains(seen, at) {
			continue
		}
		seen = append(seen, at)
		for _, r := range []bench.Ratio{{Over: "mmsg", Under: floorVariant}, {Over: "mmsg+hold+metrics", Under: floorVariant},
			{Over: "mmsg+hold+metrics", Under: "c"}} {
			shown = append(shown, bench.RatioOf(at+":"+r.Over, at+":"+r.Under))
		}
	}
	names := figureNames(list)
	return slices.DeleteFunc(shown, func(r bench.Ratio) bool {
		return !slices.Contains(names, r.Over) || !slices.Contains(names, r.Under)
	})
}

// under is what a variant is measured under in this run.
func (b *comparison) under(v *variant) conditions {
	at := v.at
	for field, usual := range map[*int]int{&at.queues: max(1, b.queues), &at.payload: b.payload, &at.window: b.window,
		&at.copied: b.copied} {
		if *field == 0 {
			*field = usual
		}
	}
	if at.family == "" {
		at.family = "ipv4"
	}
	if at.placement == "" {
		at.placement = vocabulary.PlacementOutput
	}
	return at
}

// addresses are where packets go to and come from.
func (at *conditions) addresses() (target netip.AddrPort, sources []netip.Addr) {
	n := netlab.Networks[at.family]
	return netip.AddrPortFrom(n.Target, testbed.Port), n.SourceList()[:settledFlows]
}

// maxLength is the queues': longer than the window, so that none is ever full.
func (at *conditions) maxLength() int { return max(vocabulary.DefaultQueueLength, 2*at.window) }

// receiveBuffer has room for all that is under way, with what the kernel takes for each message beside the packet.
func (at *conditions) receiveBuffer(usual int) int {
	const message = 1536
	size := at.payload
	if at.copied > 0 {
		size = min(size, at.copied)
	}
	return max(usual, at.window*(message+size))
}

// pins are the CPUs of queues: all but the load's, as far as there are others.
func (b *comparison) pins(queues int) []int {
	others := b.cpus[min(1, len(b.cpus)-1):]
	return others[:min(queues, len(others))]
}
