package trace

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hostRoot is the machine's file system.
func hostRoot() fs.FS { return os.DirFS("/") }

// Capabilities by their numbers; names for people.
var capabilities = []struct {
	number uint
	name   string
}{{unix.CAP_BPF, "CAP_BPF"}, {unix.CAP_PERFMON, "CAP_PERFMON"}}

// diagnose says what stands in the way of a trace: from what the machine says of itself below /proc and /sys, and from
// how the attempts failed where that says nothing.
func diagnose(root fs.FS, attempts []Attempt) Refused {
	r := Refused{Attempts: attempts}
	blame := func(by, cure string) {
		r.By = append(r.By, by)
		if r.Cure == "" {
			r.Cure = cure
		}
	}
	if mode := lockdown(root); mode == "confidentiality" {
		blame("the kernel is locked down for confidentiality (/sys/kernel/security/lockdown), so no program may read its memory",
			"boot without lockdown=confidentiality; integrity allows tracing")
	}
	if by := missingCapabilities(root); by != "" {
		blame(by, "run it as root of the machine, outside of containers and user namespaces")
	}
	if !tracks(root) {
		blame("connection tracking is not there, or its module is not loaded (/proc/sys/net/netfilter/nf_conntrack_max)",
			"modprobe nf_conntrack")
	}
	if !exists(root, "sys/kernel/btf/vmlinux") {
		blame("the kernel does not describe its types (/sys/kernel/btf/vmlinux)",
			"take a kernel with CONFIG_DEBUG_INFO_BTF, as distributions build them, and have /sys mounted")
	}
	if len(r.By) > 0 {
		return r
	}

	// Nothing forbids it as a whole: say of each of the two methods what is against it.
	if text(root, "proc/sys/kernel/ftrace_enabled") == "0" {
		blame("fentry needs ftrace, which is switched off", "sysctl kernel.ftrace_enabled=1")
	} else if anyIs(attempts, unix.EPERM, unix.EACCES) {
		by := "the kernel refuses BPF programs that trace functions (EPERM), though this process has the capabilities"
		if status(root, "Seccomp") == "2" {
			by += ": a seccomp filter is in force, as in containers"
		} else {
			by += ": by its security modules" + list(root, "sys/kernel/security/lsm") + " or its own build"
		}
		blame(by, "")
	}
	switch {
	case !exists(root, "sys/bus/event_source/devices/kprobe") && !exists(root, "sys/kernel/tracing/kprobe_events") &&
		!exists(root, "sys/kernel/debug/tracing/kprobe_events"):
		blame("the kernel has no kprobes (CONFIG_KPROBE_EVENTS)", "")
	case text(root, "sys/kernel/debug/kprobes/enabled") == "0":
		blame("kprobes are switched off", "echo 1 >/sys/kernel/debug/kprobes/enabled")
	}
	if missing := missingFunctions(root); len(missing) > 0 {
		blame("the kernel has no function "+strings.Join(missing, " and no "), "")
	}
	if len(r.By) == 0 {
		blame("the kernel's answers below are all that is known", "")
	}
	return r
}

func exists(root fs.FS, name string) bool {
	_, err := fs.Stat(root, name)
	return err == nil
}

// text is a file's content without its last newline; empty where it cannot be read.
func text(root fs.FS, name string) string {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func list(root fs.FS, name string) string {
	if s := text(root, name); s != "" {
		return " (" + s + ")"
	}
	return ""
}

// lockdown is the mode in brackets, as in "none [integrity] confidentiality".
func lockdown(root fs.FS) string {
	_, rest, _ := strings.Cut(text(root, "sys/kernel/security/lockdown"), "[")
	mode, _, _ := strings.Cut(rest, "]")
	return mode
}

// status is a field of the process's status.
func status(root fs.FS, field string) string {
	for line := range strings.Lines(text(root, "proc/self/status")) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// missingCapabilities says what the process lacks: CAP_SYS_ADMIN has it all, also before 5.8, when there were no
// others. In a user namespace of its own a process has capabilities, but not those that BPF asks for.
func missingCapabilities(root fs.FS) string {
	has, err := strconv.ParseUint(status(root, "CapEff"), 16, 64)
	if err != nil {
		return ""
	}
	if fields := strings.Fields(text(root, "proc/self/uid_map")); len(fields) == 3 &&
		fields[2] != strconv.FormatUint(1<<32-1, 10) {
		return "the process is in a user namespace, whose capabilities are none to BPF"
	}
	if has&(1<<unix.CAP_SYS_ADMIN) != 0 {
		return ""
	}
	var missing []string
	for _, c := range capabilities {
		if has&(1<<c.number) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf("the process lacks %s (or CAP_SYS_ADMIN), which tracing needs whatever kernel.unprivileged_bpf_disabled says",
		strings.Join(missing, " and "))
}

// tracks says whether there is connection tracking.
func tracks(root fs.FS) bool { return exists(root, "proc/sys/net/netfilter/nf_conntrack_max") }

// missingFunctions are those of the two that the kernel does not name among its symbols. Functions that the compiler
// has changed have another name (such as f.isra.0), and cannot be traced: their arguments are not known.
func missingFunctions(root fs.FS) []string {
	f, err := root.Open("proc/kallsyms")
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	found := map[string]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := bytes.Fields(lines.Bytes())
		if len(fields) < 3 {
			continue
		}
		if name := string(fields[2]); name == resolver.function || name == confirm.function {
			found[name] = true
		}
	}
	if lines.Err() != nil {
		return nil
	}
	var missing []string
	for _, name := range []string{resolver.function, confirm.function} {
		if !found[name] {
			missing = append(missing, name)
		}
	}
	return missing
}
