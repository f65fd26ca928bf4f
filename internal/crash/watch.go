package crash

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kernelLog is where the running kernel's log is read.
const kernelLog = "/dev/kmsg"

// Watch looks for what the running kernel reports from its start on. It is for
// one goroutine at a time.
type Watch struct {
	before  uint64
	path    string
	log     int // descriptor; -1: none
	unread  []string
	lost    int    // times that records were overwritten before they were read
	rest    []byte // a line that is not complete yet
	scanner scanner
}

// Findings are what a watch saw since its start, as result files have it.
type Findings struct {
	// TaintBefore and TaintAfter are the kernel's taint masks at the start and now.
	TaintBefore uint64 `json:"taint_before"`
	TaintAfter  uint64 `json:"taint_after"`
	// Reports are what the kernel log got that a sound kernel does not print. Empty proves nothing where Unread is set.
	Reports []Report `json:"kernel_reports"`
	// Unread says why the kernel log could not be read, or not all of it.
	Unread string `json:"kernel_log_unread,omitempty"`
}

// NewTaint is the taint that came since the start.
func (f *Findings) NewTaint() uint64 { return f.TaintAfter &^ f.TaintBefore }

// Broken reports whether anything came that a sound kernel does not report.
func (f *Findings) Broken() bool { return len(f.Reports) > 0 || f.NewTaint() != 0 }

// Start reads the taint mask and notes where the kernel log ends. A log that cannot be read is no error: Check's
// findings tell why, and the taint remains.
func Start() (*Watch, error) { return StartFrom(kernelLog) }

// StartFrom is Start with a file or named pipe in the place of /dev/kmsg, such as one that a serial console is written
// to.
func StartFrom(path string) (*Watch, error) {
	before, err := Taint()
	if err != nil {
		return nil, err
	}
	w := &Watch{before: before, path: path}
	// Not os.Open: what is not there yet must not be waited for.
	w.log, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		w.log = -1
		w.unread = append(w.unread, refusal(path, err))
		return w, nil
	}
	// A pipe has no end to go to: it begins here.
	if _, err := unix.Seek(w.log, 0, io.SeekEnd); err != nil && !errors.Is(err, unix.ESPIPE) {
		w.stop(err)
	}
	return w, nil
}

// refusal names the cause and, where it is known, the cure.
func refusal(path string, err error) string {
	text := fmt.Sprintf("read the kernel log: %v", &os.PathError{Op: "open", Path: path, Err: err})
	if !errors.Is(err, unix.EPERM) {
		return text
	}
	setting, readErr := os.ReadFile("/proc/sys/kernel/dmesg_restrict")
	if readErr == nil && strings.TrimSpace(string(setting)) == "1" {
		text += " (kernel.dmesg_restrict is 1: it takes CAP_SYSLOG, and not that of a user namespace)"
	}
	return text
}

// stop gives up the log for a reason.
func (w *Watch) stop(err error) {
	w.unread = append(w.unread, fmt.Sprintf("read the kernel log: %v", &os.PathError{Op: "read", Path: w.path, Err: err}))
	w.closeLog()
}

func (w *Watch) closeLog() {
	if w.log >= 0 {
		_ = unix.Close(w.log) // it was only read
		w.log = -1
	}
}

// Close ends the watch.
func (w *Watch) Close() error {
	w.closeLog()
	return nil
}

// checkTime bounds one Check where the log is written to faster than it is read.
const checkTime = 2 * time.Second

// Check reads what the log has got, without waiting for more, and returns the findings since the start. A report that
// the kernel is still printing is in them as far as it goes.
func (w *Watch) Check() (Findings, error) {
	w.readLog()
	f := Findings{TaintBefore: w.before, Reports: w.scanner.reports()}
	unread := slices.Clone(w.unread)
	if w.lost > 0 {
		unread = append(unread, "the kernel log was written over before it was read: reports may be missing")
	}
	if w.scanner.dropped > 0 {
		unread = append(unread, fmt.Sprintf("%d more reports came than are kept (%d)", w.scanner.dropped, maxReports))
	}
	f.Unread = strings.Join(unread, "; ")
	var err error
	f.TaintAfter, err = Taint()
	return f, err
}

func (w *Watch) readLog() {
	// One record of /dev/kmsg a read: a smaller buffer than the longest gets EINVAL.
	buf := make([]byte, 16<<10)
	for end := time.Now().Add(checkTime); w.log >= 0 && time.Now().Before(end); {
		n, err := unix.Read(w.log, buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EPIPE):
			w.lost++ // the next read goes on with the oldest that is left
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil:
			w.stop(err)
		case n == 0:
			return
		default:
			w.take(buf[:n])
		}
	}
}

// take gives complete lines to the scanner.
func (w *Watch) take(b []byte) {
	w.rest = append(w.rest, b...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte{'\n'})
		if !ok && len(w.rest) <= maxLine {
			return
		}
		if !ok {
			line, rest = w.rest, nil
		}
		w.scanner.line(string(line))
		w.rest = rest
	}
}
