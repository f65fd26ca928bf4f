package matrix

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
	"verdictd/lab/internal/testbed"
)

// hashesPorts finds out, in a namespace made for it, whether the rules of fan-out ports can be installed.
func hashesPorts() (bool, error) {
	ns, err := netlab.NewNetNS()
	if err != nil {
		return false, err
	}
	var refused error
	err = ns.Do(func() error {
		_, refused = ruleset.Install(ruleset.Config{
			Table: "verdictd", Placement: vocabulary.PlacementOutput, Fanout: vocabulary.FanoutPorts,
			Queues: 2, Bypass: true, IPv4: true, IPv6: true, Protocols: []uint8{unix.IPPROTO_UDP},
			DestinationPorts: []uint16{testbed.Port},
		})
		return nil // the rules go with the namespace
	})
	return refused == nil, errors.Join(err, ns.Close())
}

// notes say what a reader of the rows has to know.
func notes(release string, rows []row) []string {
	out := testbed.KernelNotes(release)
	if slices.ContainsFunc(rows, func(r row) bool { return r[fanout] == report.FanoutNumgen }) {
		out = append(out, "With fan-out numgen the packets of one sending thread would take different queues, which "+
			"have no common order: in those rows every packet of a burst is sent by a thread of its own.")
	}
	if slices.ContainsFunc(rows, row.foreign) {
		out = append(out, "Where another program than verdictd gives the verdicts, its queues' figures are the "+
			"kernel's counters, there is no latency, and a distribution of the analysis delay is its delay for "+
			"every packet. Suricata has no such delay: it takes what it takes.")
	}
	if slices.ContainsFunc(rows, func(r row) bool {
		return r[guard] == report.GuardOff && (r[kind] != report.TrafficUDP || r[nat] == report.NATBackends)
	}) {
		out = append(out, "Without a guard, clashes of ICMP cost the packet, and those of flows from both ends or to "+
			"drawn backends may: such losses are shown and are no failure of the row.")
	}
	if slices.ContainsFunc(rows, func(r row) bool {
		return r[nat] == report.NATMasquerade &&
			r[guard] == report.GuardOff
	}) {
		out = append(out, "Masquerading without a guard, the loser of a clash has drawn a port of its own, and "+
			"leaves from it (moved) or is dropped, depending on the kernel.")
	}
	return out
}
