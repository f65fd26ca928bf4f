package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"verdictd/internal/crash"
	"verdictd/lab/internal/child"
)

// How a run ended.
const (
	EndedExited  = "exited"  // the command ended; ExitStatus says how
	EndedPanic   = "panic"   // the kernel did
	EndedTimeout = "timeout" // it took too long and was killed
	EndedLost    = "lost"    // the machine stopped, or reset itself, without a panic and before the command had ended
)

// Result is what a run brought.
type Result struct {
	Ended      string `json:"ended"`
	ExitStatus int    `json:"exit_status"` // valid if Ended is EndedExited
	Reason     string `json:"reason,omitempty"`

	Accelerator string `json:"accelerator"`
	// BootSeconds is from QEMU's start to the guest's init.
	BootSeconds float64 `json:"boot_seconds"`
	Seconds     float64 `json:"seconds"`

	// Reports are what the kernel's console says of oopses and the like.
	Reports []crash.Report `json:"reports"`

	Console        []byte            `json:"-"`
	Stdout, Stderr []byte            `json:"-"`
	Outputs        map[string][]byte `json:"-"` // the files that the command left below /out, by their names there
}

// kvmSilence is how long a guest under KVM may take to come up before it is tried once more without.
const kvmSilence = 45 * time.Second

// Run boots a kernel, runs the command in it, and returns when the machine is gone. An error says that the run could
// not be made; that the kernel panicked or the command failed is a result.
func Run(ctx context.Context, c Config) (result *Result, err error) {
	qemu, err := FindQEMU()
	if err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("virtual machine: %w", err)
	}
	a, err := choose(ctx, c.Accelerator)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lab-vm-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the guest's files (set TMPDIR to where that is allowed): %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	initramfs := filepath.Join(dir, "initramfs")
	size, err := writeInitramfs(&c, initramfs)
	if err != nil {
		return nil, fmt.Errorf("make the guest's root: %w", err)
	}
	// The kernel unpacks the archive before it lets go of it.
	least := int(2*size>>20) + 96
	if c.Memory == 0 {
		c.Memory = max(512, least+256)
	}
	if c.Memory < least {
		return nil, fmt.Errorf("%d MiB of memory are too few for the guest's files: give %d or more", c.Memory, least)
	}
	result, up, err := boot(ctx, &c, a, qemu, initramfs)
	if c.Accelerator == "" && a.name == "kvm" && !up && ctx.Err() == nil {
		a = accelerators[len(accelerators)-1]
		result, _, err = boot(ctx, &c, a, qemu, initramfs)
	}
	return result, err
}

// grace is how long who inherited QEMU's output may keep it. QEMU has no children, but what is called so may be a
// script.
const grace = 5 * time.Second

// boot makes one attempt. up says whether the guest's init was heard of.
func boot(ctx context.Context, c *Config, a accelerator, qemu, initramfs string) (*Result, bool, error) {
	bounded, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, false, err
	}
	defer r.Close() //nolint:errcheck // nothing is written to this end

	console := newConsole(c.Console)
	var stderr bytes.Buffer
	cmd := exec.CommandContext(bounded, qemu, qemuArgs(c, a, initramfs)...)
	cmd.Stdout, cmd.Stderr = console, &stderr
	cmd.ExtraFiles = []*os.File{w}

	begun := time.Now()
	guest := &receiver{stdout: c.Stdout, stderr: c.Stderr, outputs: map[string][]byte{}}
	received := make(chan error, 1)
	go func() { received <- guest.receive(r, begun) }()
	if a.name == "kvm" && c.Accelerator == "" {
		silent := time.AfterFunc(kvmSilence, func() {
			if !guest.up.Load() {
				cancel()
			}
		})
		defer silent.Stop()
	}
	ended := child.Run(bounded, cmd, syscall.SIGKILL, grace)
	seconds := time.Since(begun).Seconds()
	// QEMU is gone; with this end closed as well, the receiver comes to the end of what QEMU wrote.
	if err := w.Close(); err != nil {
		return nil, false, err
	}
	broken := <-received
	up := guest.up.Load()

	if ctx.Err() != nil {
		return nil, up, fmt.Errorf("virtual machine: %w", context.Cause(ctx))
	}
	result := &guest.result
	result.Accelerator, result.Seconds, result.Console, result.Outputs = a.name, seconds, console.text(), guest.outputs
	if result.Reports, err = crash.Scan(bytes.NewReader(result.Console)); err != nil {
		return nil, up, fmt.Errorf("read the console: %w", err)
	}
	if ended != nil {
		ended = fmt.Errorf("QEMU: %s", lastLine(stderr.String(), ended))
	}
	if err := guest.judge(bounded.Err() != nil, ended, broken); err != nil {
		return nil, up, err
	}
	if result.Ended == EndedTimeout {
		result.Reason = fmt.Sprintf("not over after %v", c.Timeout)
	}
	return result, up, nil
}

// judge fills in how the run ended, or says why there is no result. Ended is QEMU's own failure, broken that of
// reading from the guest.
func (g *receiver) judge(timedOut bool, ended, broken error) error {
	result := &g.result
	panicked := strings.Contains(string(result.Console), "Kernel panic - not syncing")
	switch {
	case g.failed != "":
		return fmt.Errorf("the guest's init: %s%s", g.failed, result.lastWords())
	case g.exited:
		result.Ended = EndedExited
	case panicked:
		result.Ended = EndedPanic
	case timedOut:
		result.Ended = EndedTimeout
	case ended != nil && len(result.Console) == 0:
		return ended
	default:
		result.Ended, result.Reason = EndedLost, "the machine stopped before the command had ended"
		if broken != nil {
			result.Reason += ": " + broken.Error()
		}
	}
	if !g.up.Load() && result.Ended != EndedTimeout {
		return fmt.Errorf("the kernel did not get as far as the guest's init%s", result.lastWords())
	}
	return nil
}

// Failure is nil if the command ran to its end with exit status 0, and otherwise says what became of it.
func (r *Result) Failure() error {
	switch {
	case r.Ended == EndedExited && r.ExitStatus == 0:
		return nil
	case r.Ended == EndedExited:
		return fmt.Errorf("the command in the guest failed with exit status %d", r.ExitStatus)
	case len(r.Reports) > 0:
		return fmt.Errorf("the guest ended with: %s (%s)", r.Reports[0].Title, r.Ended)
	}
	return fmt.Errorf("the guest ended without a result (%s) %s%s", r.Ended, r.Reason, r.lastWords())
}

// lastWords is the end of the console for an error message.
func (r *Result) lastWords() string {
	lines := strings.FieldsFunc(string(r.Console), func(c rune) bool { return c == '\n' })
	if len(lines) == 0 {
		return "; the console is empty"
	}
	return "; the console's last lines:\n" + strings.Join(lines[max(0, len(lines)-12):], "\n")
}

func qemuArgs(c *Config, a accelerator, initramfs string) []string {
	cpus := strconv.Itoa(c.CPUs)
	line := append([]string{"console=ttyS0", "panic=1", "rdinit=" + c.InitPath}, c.Append...)
	line = append(append(line, "--"), c.InitArgs...)
	return append([]string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-smp", cpus + ",sockets=" + cpus,
		"-m", strconv.Itoa(c.Memory),
		"-kernel", c.Kernel, "-initrd", initramfs, "-append", strings.Join(line, " "),
		"-serial", "stdio",
		// The pipe that this process reads: QEMU inherits it as its first descriptor after the standard ones.
		"-chardev", "file,id=report,path=/dev/fd/3", "-serial", "chardev:report",
	}, a.args...)
}

// maxConsole bounds what is kept of each end of the console: what comes first explains what follows, and what comes
// last is the reason why there is no more.
const maxConsole = 8 << 20

// console takes the carriage returns out of what a serial console says, keeps it and passes it on.
type console struct {
	head, tail []byte
	next       io.Writer
}

func newConsole(next io.Writer) *console { return &console{next: next} }

func (c *console) Write(b []byte) (int, error) {
	text := bytes.ReplaceAll(b, []byte{'\r'}, nil)
	n := min(len(text), maxConsole-len(c.head))
	c.head = append(c.head, text[:n]...)
	c.tail = append(c.tail, text[n:]...)
	if over := len(c.tail) - maxConsole; over > maxConsole { // seldom, as it copies
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
	if c.next != nil {
		if _, err := c.next.Write(text); err != nil {
			c.next = nil // who looks on went away; the run goes on
		}
	}
	return len(b), nil
}

func (c *console) text() []byte { return slices.Concat(c.head, c.tail) }
