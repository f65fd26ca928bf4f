package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/internal/results"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// programs are the binaries that the lab starts.
type programs struct {
	verdictd, stress, conntrackwatch string
}

// findPrograms looks for them in a directory, or beside the lab's own binary where none is given.
func findPrograms(dir string) (programs, error) {
	if dir == "" {
		executable, err := os.Executable()
		if err != nil {
			return programs{}, fmt.Errorf("find the lab's own executable, beside which the other programs are: %w", err)
		}
		dir = filepath.Dir(executable)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return programs{}, fmt.Errorf("find the programs in %s: %w", dir, err)
	}
	var p programs
	var missing []string
	for name, path := range map[string]*string{"verdictd": &p.verdictd, "stress": &p.stress, "conntrackwatch": &p.conntrackwatch} {
		found, err := exec.LookPath(filepath.Join(dir, name))
		if err != nil {
			missing = append(missing, name)
		}
		*path = found
	}
	if len(missing) > 0 {
		return programs{}, fmt.Errorf("no %s in %s: build the programs (make build) and use bin/lab, or say with --bin where they are", strings.Join(missing, ", no "), dir)
	}
	return p, nil
}

// versions asks each program for its own.
func (p programs) versions(ctx context.Context) (map[string]string, error) {
	out := map[string]string{"lab": version}
	for _, program := range []string{p.verdictd, p.stress, p.conntrackwatch} {
		name := filepath.Base(program)
		ctx, cancel := context.WithTimeout(ctx, readyWithin)
		text, err := exec.CommandContext(ctx, program, "--version").Output()
		cancel()
		if err != nil {
			return nil, fmt.Errorf("ask %s for its version: %w", program, err)
		}
		out[name] = strings.TrimSpace(strings.TrimPrefix(string(text), name+" "))
	}
	return out, nil
}

// readHost collects what the report says about the machine. What is missing on some machines is left empty; what the
// lab needs anyway is an error.
func readHost(ctx context.Context, p programs) (h report.Host, err error) {
	machine, err := results.ReadHost()
	if err != nil {
		return h, err
	}
	h = report.Host{
		Kernel:       machine.Kernel,
		Distribution: machine.Distribution,
		Architecture: machine.Architecture,
		CPUs:         machine.CPUs,
		CPUModel:     machine.CPUModel,

		ClashesUncounted: clashesUncounted(machine.Kernel),

		Tainted:       machine.Tainted,
		UserNamespace: netlab.Inside(),
	}
	if h.Versions, err = p.versions(ctx); err != nil {
		return h, err
	}
	ns, err := netlab.NewNetNS()
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	if err := ns.ActivateConntrack(); err != nil {
		return h, err
	}
	err = ns.Do(func() error {
		kind, err := ruleset.Probe()
		h.QueueKind = string(kind)
		h.ConntrackEvents = readInt("/proc/sys/net/netfilter/nf_conntrack_events")
		return err
	})
	return h, err
}

// readInt is nil where the file is not there or not a number.
func readInt(path string) *int {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil
	}
	return &n
}

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
			Queues: 2, Bypass: true, IPv4: true, IPv6: true, Protocols: []uint8{unix.IPPROTO_UDP}, DestinationPorts: []uint16{port},
		})
		return nil // the rules go with the namespace
	})
	return refused == nil, errors.Join(err, ns.Close())
}

// notes say what a reader of the rows has to know.
func notes(release string, rows []row) []string {
	out := kernelNotes(release)
	if slices.ContainsFunc(rows, func(r row) bool { return r[fanout] == report.FanoutNumgen }) {
		out = append(out, "With fan-out numgen the packets of one sending thread would take different queues, which have no common order: in those rows every packet of a burst is sent by a thread of its own.")
	}
	if slices.ContainsFunc(rows, row.foreign) {
		out = append(out, "Where another program than verdictd gives the verdicts, its queues' figures are the kernel's counters, there is no latency, and a distribution of the analysis delay is its delay for every packet.")
	}
	if slices.ContainsFunc(rows, func(r row) bool {
		return r[guard] == report.GuardOff && (r[kind] != report.TrafficUDP || r[nat] == report.NATBackends)
	}) {
		out = append(out, "Without a guard, clashes of ICMP cost the packet, and those of flows from both ends or to drawn backends may: such losses are shown and are no failure of the row.")
	}
	if slices.ContainsFunc(rows, func(r row) bool { return r[nat] == report.NATMasquerade && r[guard] == report.GuardOff }) {
		out = append(out, "Masquerading without a guard, the loser of a clash has drawn a port of its own, and leaves from it (moved) or is dropped, depending on the kernel.")
	}
	return out
}

// kernelNotes say what a reader of this kernel's counters has to know.
func kernelNotes(release string) []string {
	out := []string{}
	if clashesUncounted(release) {
		out = append(out, "Linux 4.18 to 6.11 resolves clashes at the queue's re-injection without counting them: the clashes of this kernel are more than the table shows. Without a guard all packets of a burst but the first are exposed to them.")
	}
	if before, known := olderThan(release, 5, 10); known && before {
		out = append(out, "Before Linux 5.10 there is no clash_resolve: clashes are counted from insert_failed.")
	}
	return out
}

// clashesUncounted: 368982cd7d1b to 8af79d3edb5f; long-term distribution kernels may differ.
func clashesUncounted(release string) bool {
	silent, known := olderThan(release, 6, 12)
	loud, _ := olderThan(release, 4, 18)
	return known && silent && !loud
}

// olderThan compares a release with a version of Linux.
func olderThan(release string, x, y int) (older, known bool) {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return false, false
	}
	return major < x || major == x && minor < y, true
}
