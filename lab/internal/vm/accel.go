package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"verdictd/lab/internal/child"
)

// An accelerator is a way in which QEMU runs a guest's code.
type accelerator struct {
	name string
	args []string
	// within is how long the trial may take. A KVM that takes longer than emulation is of no use: on some machines that
	// are virtual themselves it runs a few instructions a millisecond.
	within time.Duration
}

// accelerators, the better ones first.
var accelerators = []accelerator{
	{name: "kvm", args: []string{"-accel", "kvm", "-cpu", "host"}, within: 2 * time.Second},
	// See the traps in doc.go.
	{name: "tcg", args: []string{"-accel", "tcg,thread=multi", "-cpu", "max,-la57,-cx16"}, within: 30 * time.Second},
}

// A Trial is what became of trying one accelerator.
type Trial struct {
	Accelerator string  `json:"accelerator"`
	Works       bool    `json:"works"`
	Reason      string  `json:"reason"` // why it does not, or how long it took
	Seconds     float64 `json:"seconds"`
}

// sector is a disk's first: it says "ok" on the serial port and ends QEMU through its exit device, with status 33.
var sector = [512]byte{
	0xfa,             // cli
	0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0xb0, 'o', 0xee, // mov al, 'o'; out dx, al
	0xb0, 'k', 0xee,
	0xba, 0xf4, 0x00, // mov dx, 0xf4
	0xb0, 0x10, 0xee, // mov al, 0x10; out dx, al
	0xf4, 0xeb, 0xfd, // hlt; jmp hlt
	510: 0x55, 511: 0xaa,
}

const sectorStatus = 0x10<<1 | 1

// trials keeps what was found out: trying once a process is enough, and a machine's next process may be luckier.
var trials struct {
	sync.Mutex
	done []Trial
	qemu string
}

// FindQEMU is the path of the QEMU that would be used.
func FindQEMU() (string, error) {
	at, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return "", fmt.Errorf("%w: install it (Debian: apt-get install qemu-system-x86; Fedora: dnf install "+
			"qemu-system-x86)", ErrNoQEMU)
	}
	return at, nil
}

// TryAccelerators runs a few instructions under each, until one works.
func TryAccelerators(ctx context.Context) ([]Trial, error) {
	qemu, err := FindQEMU()
	if err != nil {
		return nil, err
	}
	trials.Lock()
	defer trials.Unlock()
	if trials.qemu == qemu {
		return trials.done, nil
	}
	done, err := tryAll(ctx, qemu, accelerators)
	if err == nil {
		trials.qemu, trials.done = qemu, done
	}
	return done, err
}

func tryAll(ctx context.Context, qemu string, all []accelerator) (done []Trial, err error) {
	dir, err := os.MkdirTemp("", "lab-vm-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the trial (set TMPDIR to where that is allowed): %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	disk := filepath.Join(dir, "disk")
	if err := os.WriteFile(disk, sector[:], 0o600); err != nil {
		return nil, err
	}
	for _, a := range all {
		t := a.try(ctx, qemu, disk)
		if ctx.Err() != nil {
			return done, ctx.Err()
		}
		done = append(done, t)
		if t.Works {
			break
		}
	}
	return done, nil
}

func (a accelerator) try(ctx context.Context, qemu, disk string) Trial {
	ctx, cancel := context.WithTimeout(ctx, a.within)
	defer cancel()
	args := append([]string{"-m", "32", "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
		"-no-reboot",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-drive", "file=" + disk + ",format=raw,if=ide,snapshot=on"},
		a.args...)
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, qemu, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begun := time.Now()
	err := child.Run(ctx, cmd, syscall.SIGKILL, grace)
	t := Trial{Accelerator: a.name, Seconds: time.Since(begun).Seconds()}
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		t.Reason = fmt.Sprintf("did not run a few instructions within %v", a.within)
	case ended && exit.ExitCode() == sectorStatus && strings.Contains(stdout.String(), "ok"):
		t.Works, t.Reason = true, fmt.Sprintf("works, tried in %.1f s", t.Seconds)
	case err == nil:
		t.Reason = "ended without having run"
	default:
		t.Reason = lastLine(stderr.String(), err)
	}
	return t
}

// lastLine is what a program said of its failure, or else how it ended.
func lastLine(stderr string, err error) string {
	lines := strings.FieldsFunc(stderr, func(r rune) bool { return r == '\n' })
	if len(lines) == 0 {
		return err.Error()
	}
	return strings.TrimPrefix(lines[0], "qemu-system-x86_64: ")
}

// choose finds the accelerator of a run.
func choose(ctx context.Context, name string) (accelerator, error) {
	if name != "" {
		for _, a := range accelerators {
			if a.name == name {
				return a, nil
			}
		}
		return accelerator{}, fmt.Errorf("there is no accelerator %q: kvm or tcg", name)
	}
	done, err := TryAccelerators(ctx)
	if err != nil {
		return accelerator{}, err
	}
	var reasons []string
	for _, t := range done {
		if t.Works {
			return choose(ctx, t.Accelerator)
		}
		reasons = append(reasons, t.Accelerator+": "+t.Reason)
	}
	return accelerator{}, fmt.Errorf("no accelerator of QEMU works here: %s", strings.Join(reasons, "; "))
}
