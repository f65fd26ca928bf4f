package record

import (
	"fmt"
	"io"
	"strings"

	"verdictd/internal/crash"
)

// quotedLines bounds what a report is quoted with on stderr. The result file has it whole.
const quotedLines = 60

// quoteReports shows each report and what is known about it.
func quoteReports(to io.Writer, reports []crash.Report) {
	for i, r := range reports {
		fmt.Fprintf(to, "kernel report %d of %d: %s\n", i+1, len(reports), classify(&r))
		for j, line := range r.Lines {
			if j == quotedLines {
				fmt.Fprintf(to, "  | ... %d more lines\n", len(r.Lines)-j)
				break
			}
			fmt.Fprintf(to, "  | %s\n", line)
		}
	}
}

func classify(r *crash.Report) string {
	if r.Signature == "" {
		return r.Kind + ", not one that this program knows"
	}
	return fmt.Sprintf("%s, known as %s. %s", r.Kind, r.Signature, r.About)
}

// describeFindings is what came, in one line.
func describeFindings(f *crash.Findings) string {
	var parts []string
	for _, r := range f.Reports {
		name := r.Signature
		if name == "" {
			name = "unknown"
		}
		parts = append(parts, fmt.Sprintf("%s (%s: %s)", r.Kind, name, r.Title))
	}
	if n := f.NewTaint(); n != 0 {
		parts = append(parts, fmt.Sprintf("taint %#x became %#x (%s)", f.TaintBefore, f.TaintAfter, crash.DescribeTaint(n)))
	}
	return strings.Join(parts, "; ")
}

// summarizeKernel adds to a summary what there is to say of the kernel, if there is.
func summarizeKernel(to io.Writer, f *crash.Findings) error {
	var err error
	if f.Broken() {
		_, err = fmt.Fprintf(to, "THE KERNEL BROKE  %s\n", describeFindings(f))
	}
	if f.Unread != "" && err == nil {
		_, err = fmt.Fprintf(to, "kernel log  unknown: %s; the taint mask was %#x before and %#x after\n", f.Unread,
			f.TaintBefore, f.TaintAfter)
	}
	if err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}
