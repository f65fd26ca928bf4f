package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"verdictd/internal/report"
	"verdictd/lab/internal/kernels"
	"verdictd/lab/internal/testbed"
	"verdictd/lab/internal/vm"
)

// The rules of every row spread a flow over its queues, so that two processors may give verdicts on it at a time.
// Before conntrack they must not: there verdicts that race are enough for a clash, as packets are looked up and
// confirmed in one go. Seen: 5 clashes in 600 flows, and the report.
const (
	Queues = 2
	Fanout = report.FanoutNumgen
)

// Machines are machines that run the workload on some kernel.
type Machines struct {
	Flows, Burst int
	CPUs         int // two at least, for a clash in the confirm
	Memory       int // MiB
	Accelerator  string
	Timeout      time.Duration // of one machine

	Modules string   // as machine has it
	Append  []string // further words for the kernel's command line
	Bin     string   // as machine has it
	Console bool     // show the machines' consoles among the remarks
}

// Validate says all that is wrong.
func (m *Machines) Validate() error {
	errs := []error{testbed.Within("--flows", m.Flows, 1, testbed.MaxFlows),
		testbed.Within("--burst", m.Burst, 2, testbed.MaxBurst), testbed.Within("--cpus", m.CPUs, 2, 8)}
	if m.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout %v is not above zero", m.Timeout))
	}
	return errors.Join(errs...)
}

// Boot runs one row in a machine of its own and fills the row in.
func (m *Machines) Boot(ctx context.Context, row *report.CrashRow, image string, w io.Writer) (accelerator string,
	err error) {
	one := kernels.Machine{Image: image, Modules: m.Modules, CPUs: m.CPUs, Memory: m.Memory, Accelerator: m.Accelerator,
		Bin: m.Bin}
	_, config, err := one.Prepare(ctx, w)
	if err != nil {
		return "", err
	}
	config.Command = []string{
		kernels.LabPath, "kernel", "workload", "--placement", row.Placement, "--fanout", row.Fanout, "--guard",
		row.Guard, "--program", row.Program, "--events", row.Events,
		"--flows", strconv.Itoa(m.Flows), "--burst", strconv.Itoa(m.Burst),
	}
	// An oops leaves the daemon's locks taken, and the machine hanging. A processor that this machine does not get to
	// run looks like a stall to the guest, which is none. Without tsc=reliable, emulated processors read the time
	// from an emulated clock chip, at three times the cost of all else.
	config.Append = append([]string{"oops=panic", "rcupdate.rcu_cpu_stall_suppress=1", "tsc=reliable"}, m.Append...)
	config.Timeout = m.Timeout
	if m.Console {
		config.Console = w
	}
	result, err := vm.Run(ctx, config)
	if err != nil {
		return "", err
	}
	return result.Accelerator, takeMachine(row, result)
}
