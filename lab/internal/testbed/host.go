package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/internal/results"
	"verdictd/internal/ruleset"
)

// readHost collects what the report says about the machine. What is missing on some machines is left empty; what the
// lab needs anyway is an error.
func readHost(ctx context.Context, p Programs) (h report.Host, err error) {
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

// KernelNotes say what a reader of this kernel's counters has to know.
func KernelNotes(release string) []string {
	out := []string{}
	if clashesUncounted(release) {
		out = append(out, "Linux 4.18 to 6.11 resolves clashes at the queue's re-injection without counting them: "+
			"the clashes of this kernel are more than the table shows. Without a guard all packets of a burst but "+
			"the first are exposed to them.")
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
