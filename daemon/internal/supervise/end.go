package supervise

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"verdictd/internal/cli"
)

// end is how a daemon ended.
type end struct{ status unix.WaitStatus }

// hopeless reports whether another start ends in the same way: the caller has to mend something first.
func (e end) hopeless() bool {
	return e.status.Exited() && slices.Contains([]int{cli.Usage, cli.Configuration}, e.status.ExitStatus())
}

// done reports whether the daemon has done all that it was told.
func (e end) done() bool { return e.status.Exited() && e.status.ExitStatus() == cli.Done }

// final reports whether the daemon ended by itself and is to stay away.
func (e end) final() bool { return e.hopeless() || e.done() }

// ordered reports whether the daemon ended by itself, be it with an error. A Go program that crashes exits with 2.
func (e end) ordered() bool { return e.status.Exited() && e.status.ExitStatus() != 2 }

// exitStatus is the status for who started the parent: the daemon's own, or that of a failed run.
func (e end) exitStatus() int {
	if e.ordered() {
		return e.status.ExitStatus()
	}
	return cli.Failed
}

func (e end) String() string {
	switch {
	case e.status.Signaled() && e.status.CoreDump():
		return fmt.Sprintf("killed by signal %s, core dumped", unix.SignalName(e.status.Signal()))
	case e.status.Signaled():
		return "killed by signal " + unix.SignalName(e.status.Signal())
	case e.status.ExitStatus() == 2:
		return "exit status 2, with which a Go program crashes"
	}
	return fmt.Sprintf("exit status %d", e.status.ExitStatus())
}
