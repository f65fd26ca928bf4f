package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"verdictd/daemon/internal/audit"
	"verdictd/internal/netlab"
)

type auditCommand struct {
	askFlags
	NoDaemon bool `name:"no-daemon" help:"Look at the machine alone, and ask no running daemon what it guards."`
	JSON     bool `name:"json" help:"Write JSON (docs/audit.md has the keys)."`
	All      bool `help:"Show the kernel's faults that are fixed here too."`
	Probe    bool `help:"Make packets clash, in a network namespace of its own, and say what the kernel did with them."`
	MayCrash bool `name:"may-crash-this-machine" help:"Probe even a kernel that may crash by it."`
	// ProbeAlone is what --probe starts in a user namespace: there the rest of the
	// machine would look different.
	ProbeAlone bool `hidden:"" help:"Write what --probe found, and nothing else."`
}

// Validate is kong's.
func (c *auditCommand) Validate() error {
	switch {
	case c.MayCrash && !c.Probe && !c.ProbeAlone:
		return errors.New("--may-crash-this-machine is about --probe, which is not given")
	case c.ProbeAlone && !c.MayCrash:
		return errors.New("--probe-alone looks at no kernel: use --probe")
	}
	return nil
}

// Run writes the report. It returns an error, so that the exit status is 1,
// unless the machine is surely not exposed.
func (c *auditCommand) Run(ctx context.Context) error {
	if c.ProbeAlone {
		p, err := audit.RunProbe(ctx)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(p)
	}
	var daemons []audit.Daemon
	if !c.NoDaemon {
		daemons = c.daemons(ctx)
	}
	m := audit.Read(ctx, daemons)
	r := audit.NewReport(version, m)
	var failed error
	if c.Probe {
		if failed = audit.MayProbe(m, c.MayCrash); failed != nil {
			failed = fmt.Errorf("%w; --may-crash-this-machine accepts that", failed)
		}
		r.Probe = &audit.ProbeReport{}
		if failed == nil {
			r.Probe.Probe, failed = probe(ctx)
		}
		if failed != nil {
			r.Probe.Refused = failed.Error()
		}
	}
	write := func(w io.Writer) error { return r.WriteText(w, c.All) }
	if c.JSON {
		write = r.WriteJSON
	}
	if r.Verdict != audit.NotExposed {
		failed = errors.Join(fmt.Errorf("audit: %s", r.Sentence), failed)
	}
	return errors.Join(write(os.Stdout), failed)
}

// probeWithin bounds the probe's process, which has a limit of its own below that.
const probeWithin = time.Minute

// probe runs the probe here, or, where this process lacks the rights (to make a
// network namespace, or to come back from there), in one that is root of a user
// namespace.
func probe(ctx context.Context) (*audit.Probe, error) {
	p, cannot := audit.RunProbe(ctx)
	if !errors.Is(cannot, os.ErrPermission) {
		return p, cannot
	}
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	// Not by its path, which may be in a folder that this user may not search.
	cmd := netlab.InUserNamespace(exec.CommandContext(ctx, "/proc/self/exe", "audit", "--probe-alone", "--may-crash-this-machine"))
	cmd.Stderr = os.Stderr
	// With the thread that forks it dies the probe.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w; in a user namespace: %w: run it as root", cannot, err)
	}
	p = &audit.Probe{}
	if err := json.Unmarshal(out, p); err != nil {
		return nil, fmt.Errorf("probe: read the answer of the process in the user namespace: %w", err)
	}
	return p, nil
}
