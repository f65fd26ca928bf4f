package trace

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

// machine is a file system on which nothing stands in the way of a trace.
func machine(changes map[string]string) fstest.MapFS {
	files := map[string]string{
		"proc/self/status":                        "Name:\tx\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n",
		"proc/self/uid_map":                       "         0          0 4294967295\n",
		"proc/sys/net/netfilter/nf_conntrack_max": "4096\n",
		"proc/sys/kernel/ftrace_enabled":          "1\n",
		"proc/kallsyms":                           "ffffffff81f37be0 T __nf_conntrack_confirm\n0000000000000000 t nf_ct_resolve_clash\t[nf_conntrack]\n",
		"sys/kernel/btf/vmlinux":                  "BTF",
		"sys/kernel/security/lockdown":            "[none] integrity confidentiality\n",
		"sys/bus/event_source/devices/kprobe":     "", // a folder, but it is only asked for
		"sys/kernel/debug/kprobes/enabled":        "1\n",
		"sys/kernel/security/lsm":                 "lockdown,yama\n",
	}
	maps.Copy(files, changes)
	root := fstest.MapFS{}
	for name, text := range files {
		if text != "-" {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return root
}

func TestDiagnose(t *testing.T) {
	denied := []Attempt{{"nf_ct_resolve_clash by fentry", fmt.Errorf("load program: %w", unix.EPERM)}}
	unknown := []Attempt{{"nf_ct_resolve_clash by fentry", errors.New("attach: strange\nverifier's log")}}
	status := func(caps string, seccomp int) string {
		return fmt.Sprintf("Name:\tx\nCapEff:\t%s\nSeccomp:\t%d\n", caps, seccomp)
	}
	for _, test := range []struct {
		name     string
		changes  map[string]string
		attempts []Attempt
		by       []string // parts of the reasons, in order
		cure     string
	}{
		{"lockdown", map[string]string{"sys/kernel/security/lockdown": "none integrity [confidentiality]\n"}, denied,
			[]string{"locked down for confidentiality"}, "boot without"},
		{"lockdown that does not matter", map[string]string{"sys/kernel/security/lockdown": "none [integrity] confidentiality\n"}, denied,
			[]string{"refuses BPF programs that trace functions"}, ""},
		{"no capabilities", map[string]string{"proc/self/status": status("0000000000000000", 0)}, denied,
			[]string{"lacks CAP_BPF and CAP_PERFMON"}, "root of the machine"},
		{"one of the capabilities", map[string]string{"proc/self/status": status("0000008000000000", 0)}, denied,
			[]string{"lacks CAP_PERFMON"}, "root of the machine"},
		{"both capabilities", map[string]string{"proc/self/status": status("000000c000000000", 0)}, unknown,
			[]string{"answers"}, ""},
		{"user namespace", map[string]string{"proc/self/uid_map": "0 1000 1\n"}, denied,
			[]string{"user namespace"}, "outside of containers"},
		{"no conntrack", map[string]string{"proc/sys/net/netfilter/nf_conntrack_max": "-"}, unknown,
			[]string{"not loaded"}, "modprobe nf_conntrack"},
		{"no types", map[string]string{"sys/kernel/btf/vmlinux": "-"}, unknown,
			[]string{"does not describe its types"}, "CONFIG_DEBUG_INFO_BTF"},
		{"several", map[string]string{"sys/kernel/btf/vmlinux": "-", "proc/self/status": status("0", 0)}, denied,
			[]string{"lacks CAP_BPF", "does not describe its types"}, "root of the machine"},
		{"container", map[string]string{"proc/self/status": status("000001ffffffffff", 2)}, denied,
			[]string{"seccomp"}, ""},
		{"security module", nil, denied,
			[]string{"by its security modules (lockdown,yama)"}, ""},
		{"no kprobes", map[string]string{"sys/bus/event_source/devices/kprobe": "-"}, denied,
			[]string{"refuses BPF programs", "no kprobes"}, ""},
		{"kprobes off", map[string]string{"sys/kernel/debug/kprobes/enabled": "0\n"}, unknown,
			[]string{"kprobes are switched off"}, "echo 1"},
		{"ftrace off", map[string]string{"proc/sys/kernel/ftrace_enabled": "0\n"}, denied,
			[]string{"fentry needs ftrace"}, "sysctl kernel.ftrace_enabled=1"},
		{"function changed by the compiler",
			map[string]string{"proc/kallsyms": "0 T __nf_conntrack_confirm\n0 t nf_ct_resolve_clash.isra.0\n"}, unknown,
			[]string{"no function nf_ct_resolve_clash"}, ""},
		{"nothing known", nil, unknown,
			[]string{"answers"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := diagnose(machine(test.changes), test.attempts)
			if len(r.By) != len(test.by) {
				t.Fatalf("by %q, want %q", r.By, test.by)
			}
			for i, by := range test.by {
				if !strings.Contains(r.By[i], by) {
					t.Errorf("by %q, want %q", r.By[i], by)
				}
			}
			if !strings.Contains(r.Cure, test.cure) || (test.cure == "") != (r.Cure == "") {
				t.Errorf("cure %q, want %q", r.Cure, test.cure)
			}
			if text := r.Error(); strings.Contains(text, "\n") || !strings.HasPrefix(text, "tracing is refused: ") {
				t.Errorf("error %q", text)
			}
			if lines := r.Tried(); len(lines) != 1 || strings.Contains(lines[0], "\n") ||
				!strings.HasPrefix(lines[0], "nf_ct_resolve_clash by fentry: ") {
				t.Errorf("tried %q", lines)
			}
		})
	}
}

func TestRefusedUnwraps(t *testing.T) {
	err := error(&Refused{By: []string{"x"},
		Attempts: []Attempt{{"a", errors.New("other")}, {"b", fmt.Errorf("load: %w", unix.EPERM)}}})
	if !errors.Is(err, unix.EPERM) {
		t.Error("EPERM of the second attempt is not found")
	}
	if errors.Is(err, unix.EACCES) {
		t.Error("EACCES is found, which nothing returned")
	}
}
