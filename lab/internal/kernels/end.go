package kernels

import (
	"fmt"
	"io"

	"verdictd/internal/cli"
	"verdictd/lab/internal/vm"
)

// ReportEnd says how it went where the command's exit status does not. The error is that status, or says that all is
// told.
func ReportEnd(w io.Writer, r *vm.Result) error {
	for _, report := range r.Reports {
		fmt.Fprintf(w, "lab: the kernel reported: %s\n", report.Title)
	}
	switch {
	case r.Ended == vm.EndedExited && r.ExitStatus == 0:
		return nil
	case r.Ended == vm.EndedExited:
		return cli.ExitStatus(r.ExitStatus)
	case r.Ended == vm.EndedPanic:
		fmt.Fprintln(w, "lab: the kernel panicked; --console shows why")
	default:
		fmt.Fprintf(w, "lab: %s: %s\n", r.Ended, r.Reason)
	}
	return cli.ErrReported
}
