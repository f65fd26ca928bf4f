package crash

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func scanText(t *testing.T, text string) []Report {
	t.Helper()
	reports, err := Scan(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return reports
}

func file(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestKnownReports(t *testing.T) {
	for _, tt := range []struct {
		file, signature, kind, first, last string
		about                              string
	}{
		{"el7-oops.txt", "nf_ct_deliver_cached_events", KindOops, "BUG: unable to handle kernel NULL",
			"Kernel Offset: 0x1e600000", "56b14ecec97f"},
		{"kasan-confirm.txt", "nf_conntrack_confirm", KindKASAN, "=====", "---[ end Kernel panic", "CVE-2022-49561"},
		{"kasan-verdict.txt", "nfqnl_recv_verdict", KindKASAN, "=====", "=====", "CVE-2026-43084"},
		{"gc.txt", "gc_worker", KindOops, "Oops: general protection fault", "---[ end trace", "CVE-2025-38472"},
		{"rename.txt", "lock_rename", KindHungTask, "INFO: task trinity", " #1: held:", "51f0885e5415"},
		{"refcount.txt", "", KindWarning, "------------[ cut here", "---[ end trace", ""},
	} {
		reports := scanText(t, file(t, tt.file))
		if len(reports) != 1 {
			t.Errorf("%s: %d reports, want 1: %+v", tt.file, len(reports), reports)
			continue
		}
		r := reports[0]
		if r.Signature != tt.signature || r.Kind != tt.kind || !strings.Contains(r.About, tt.about) ||
			(r.About == "") != (tt.about == "") {
			t.Errorf("%s: signature %q, kind %s, about %q", tt.file, r.Signature, r.Kind, r.About)
		}
		if first, last := r.Lines[0], r.Lines[len(r.Lines)-1]; !strings.HasPrefix(first, tt.first) ||
			!strings.HasPrefix(last, tt.last) {
			t.Errorf("%s: from %q to %q, want from %q to %q", tt.file, first, last, tt.first, tt.last)
		}
		if !slices.Contains(r.Lines, r.Title) {
			t.Errorf("%s: title %q is no line of it", tt.file, r.Title)
		}
	}
}

// The trace of a verdict is in nearly every report that NFQUEUE has to do with. It must not decide.
func TestSameTraceOtherFault(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"another function": func(s string) string { return strings.ReplaceAll(s, "nf_conntrack_confirm+", "nf_nat_packet+") },
		"freed by another": func(s string) string {
			return strings.ReplaceAll(strings.ReplaceAll(s, "nf_conntrack_free+", "kfree_skb+"), "resolve_clash+", "other+")
		},
		"of another kind": func(s string) string {
			return strings.ReplaceAll(s, "KASAN: use-after-free", "KFENCE: use-after-free read")
		},
	} {
		text := file(t, "kasan-confirm.txt")
		changed := change(text)
		if changed == text {
			t.Fatalf("%s: nothing was changed", name)
		}
		reports := scanText(t, changed)
		if len(reports) != 1 || reports[0].Signature != "" || reports[0].About != "" {
			t.Errorf("%s: %+v, want one unknown report", name, reports)
		}
	}
}

func TestKinds(t *testing.T) {
	want := []struct {
		kind, title string
		lines       int
		at          float64
	}{
		{KindLockup, "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [stress:412]", 5, 10},
		{KindLockup, "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", 3, 20},
		{KindLockup, "watchdog: Watchdog detected hard LOCKUP on cpu 1", 2, 30},
		{KindBug, "kernel BUG at net/core/skbuff.c:2200!", 5, 40},
		{KindOops, "general protection fault, probably for non-canonical address 0xdffffc0000000000: 0000 [#2] SMP KASAN", 4,
			50},
		{KindBug, "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580", 3, 60},
		{KindWarning, "WARNING: possible recursive locking detected", 5, 70},
		{KindWarning, "WARNING: net/core/dev.c:123 at netif_thing+0x10/0x20, CPU#1: stress/77", 3, 80},
		{KindBug, "UBSAN: array-index-out-of-bounds in net/x.c:1:2", 2, 85},
		{KindPanic, "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100", 3, 90},
	}
	got := scanText(t, file(t, "other.txt"))
	for i, r := range got {
		if i >= len(want) {
			t.Errorf("one more: %+v", r)
			continue
		}
		w := want[i]
		if r.Kind != w.kind || r.Title != w.title || len(r.Lines) != w.lines || r.Signature != "" || r.At == nil ||
			*r.At < w.at || *r.At > w.at+0.1 {
			t.Errorf("%+v\nwant %+v", r, w)
		}
	}
	if len(got) < len(want) {
		t.Errorf("%d reports, want %d", len(got), len(want))
	}
}

func TestSoundKernel(t *testing.T) {
	if reports := scanText(t, file(t, "sound.txt")); len(reports) > 0 {
		t.Errorf("%+v, want none", reports)
	}
}

// The same report in all the ways in which it may be put before one.
func TestDress(t *testing.T) {
	plain := file(t, "kasan-verdict.txt")
	want := scanText(t, plain)
	each := func(f func(i int, line string) string) string {
		var b strings.Builder
		for i, line := range strings.Split(strings.TrimSuffix(plain, "\n"), "\n") {
			b.WriteString(f(i, line))
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"serial": each(func(_ int, line string) string { return line + "\r\n" }),
		"colour": each(func(_ int, line string) string { return "\x1b[1;31m" + line + "\x1b[0m\r\n" }),
		"stamps": each(func(i int, line string) string { return fmt.Sprintf("[%5d.%06d] %s\n", i, i, line) }),
		"callers": each(func(i int, line string) string {
			return fmt.Sprintf("[%5d.%06d][%6s] %s\n", i, i, "T123",
				line)
		}),
		"levels": each(func(i int, line string) string { return fmt.Sprintf("<4>[%5d.%06d] %s\n", i, i, line) }),
		"dmesg -x": each(func(i int, line string) string {
			return fmt.Sprintf("kern  :warn  : [%5d.%06d] %s\n", i, i,
				line)
		}),
		"dmesg iso":     each(func(_ int, line string) string { return "2026-11-23T20:55:14,123456+00:00 " + line + "\n" }),
		"dmesg reltime": each(func(i int, line string) string { return fmt.Sprintf("[  +0.%06d] %s\n", i, line) }),
		"dmesg, Russian": each(func(i int, line string) string {
			return fmt.Sprintf("[Вт апр  8 20:35:12 2025] [  +0,%06d] [  T45301] %s\n", i, line)
		}),
		"journal": each(func(_ int, line string) string { return "Nov 23 20:55:14 host kernel: " + line + "\n" }),
		"syslog": each(func(i int, line string) string {
			return fmt.Sprintf("Nov 23 20:55:14 host kernel: [%5d.%06d] %s\n", i, i, line)
		}),
		"records": each(func(i int, line string) string {
			return fmt.Sprintf("4,%d,%d,-,caller=T1;%s\n SUBSYSTEM=net\n", i, i, line)
		}),
		"no line ends": each(func(i int, line string) string { return fmt.Sprintf("[%5d.%06d] %s ", i, i, line) }),
		"unended before": each(func(i int, line string) string {
			return fmt.Sprintf("guest: 17 packets[%5d.%06d] %s\n", i, i,
				line)
		}),
		"noise between": each(func(i int, line string) string {
			return fmt.Sprintf("verdictd: %d\n%s\nstress: ok\n", i,
				line)
		}),
	} {
		got := scanText(t, text)
		if len(got) != 1 || got[0].Signature != want[0].Signature || got[0].Title != want[0].Title ||
			!frameLine.MatchString(got[0].Lines[len(got[0].Lines)-1]) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// What a program writes to /dev/kmsg carries a facility.
func TestRecordsOfPrograms(t *testing.T) {
	for _, priority := range []int{12, 4 | 3<<3} {
		text := fmt.Sprintf("%d,1,1,-;BUG: KASAN: use-after-free in nf_conntrack_confirm+0x1/0x2\n%d,2,2,-;Oops: 0000 [#1] SMP\n", priority, priority)
		if reports := scanText(t, text); len(reports) > 0 {
			t.Errorf("priority %d: %+v, want none", priority, reports)
		}
	}
}

func TestBounds(t *testing.T) {
	many := strings.Repeat("BUG: one of many\n", 3*maxReports)
	if got := scanText(t, many); len(got) != maxReports {
		t.Errorf("%d reports kept, want %d", len(got), maxReports)
	}
	long := "BUG: endless\n" + strings.Repeat(" foo+0x1/0x2\n", 10*maxLines)
	if got := scanText(t, long); len(got) != 1 || len(got[0].Lines) > maxLines {
		t.Errorf("%d reports, the first of %d lines", len(got), len(got[0].Lines))
	}
	wide := "BUG: " + strings.Repeat("x", 1<<20) + "\nordinary\n"
	if got := scanText(t, wide); len(got) != 1 || len(got[0].Title) > maxLine {
		t.Errorf("%d reports", len(got))
	}
}

func TestReadError(t *testing.T) {
	broken := errors.New("broken")
	got, err := Scan(io.MultiReader(strings.NewReader(file(t, "kasan-verdict.txt")), &failing{broken}))
	if !errors.Is(err, broken) || len(got) != 1 {
		t.Errorf("%d reports, %v; want what was found, and the error", len(got), err)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func FuzzScan(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		f.Add([]byte(file(f, filepath.Base(name))))
	}
	f.Add([]byte("4,1,2,-;BUG: x\n SUBSYSTEM=net\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		reports, err := Scan(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range reports {
			if len(r.Lines) == 0 || len(r.Lines) > 2*maxLines || r.Kind == "" || !slices.Contains(r.Lines, r.Title) ||
				(r.Signature == "") != (r.About == "") {
				t.Errorf("%+v", r)
			}
			if strings.ContainsAny(strings.Join(r.Lines, ""), "\r\n\x00\x1b") {
				t.Errorf("control characters in %q", r.Lines)
			}
			// A report, quoted, is the same report.
			again, err := Scan(strings.NewReader(strings.Join(r.Lines, "\n")))
			if err != nil || len(again) == 0 || again[0].Kind != r.Kind {
				t.Errorf("%+v, %v\nfrom %q", again, err, r.Lines)
			}
		}
	})
}
