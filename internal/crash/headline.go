package crash

import (
	"regexp"
	"strings"
)

// Where a report's end is to be seen.
type ending int

const (
	endTrace  ending = iota + 1 // at `---[ end trace`
	endFrame                    // at the second line of `=`
	endPanic                    // at `---[ end Kernel panic`
	endUnsaid                   // nowhere: with the last line that looks like a part
)

// headline is how a report begins.
type headline struct {
	pattern *regexp.Regexp
	kind    string
	end     ending
	// framed says that the line counts only behind a line of `=` or behind `cut here`: alone it may be an ordinary one.
	framed bool
}

func begins(pattern, kind string, end ending) headline {
	return headline{pattern: regexp.MustCompile(`^(?:` + pattern + `)`), kind: kind, end: end}
}

func framed(pattern, kind string, end ending) headline {
	h := begins(pattern, kind, end)
	h.framed = true
	return h
}

// headlines is what broken kernels print first, from 3.10 to 6.19, on x86 and arm64. The first that matches counts.
var headlines = []headline{
	begins(`BUG: KASAN: `, KindKASAN, endFrame),
	begins(`BUG: (KFENCE|KMSAN|KCSAN): `, KindBug, endFrame),
	begins(`(UBSAN|Undefined behaviour in): ?`, KindBug, endFrame),
	begins(`BUG: (unable to handle|kernel NULL pointer dereference)`, KindOops, endTrace),
	begins(`Unable to handle kernel `, KindOops, endTrace), // arm64
	begins(`(Oops|Internal error): `, KindOops, endTrace),  // "Oops: general protection fault" from 6.10 on
	begins(`(general protection fault|stack segment|stack guard page was hit|double fault|divide error|int3|invalid opcode|alignment check|`+
		`traps: PANIC: |PANIC: double fault)\b.*(: [0-9a-f]{4} \[#\d+\]|, error_code: )`, KindOops, endTrace),
	begins(`kernel BUG at `, KindBug, endTrace),
	begins(`(watchdog: )?BUG: (soft lockup|workqueue lockup)`, KindLockup, endUnsaid),
	begins(`((NMI )?watchdog: )?Watchdog detected hard LOCKUP`, KindLockup, endUnsaid),
	begins(`(rcu: )?INFO: rcu\w* .*(detected|self-detected) .*stall`, KindLockup, endUnsaid),
	begins(`INFO: task .* blocked (for more than|in I/O wait)`, KindHungTask, endUnsaid),
	begins(`INFO: (possible |inconsistent |suspicious |trying to register non-static key)`, KindWarning, endUnsaid),
	begins(`\[ (INFO|BUG): .* \]$`, KindWarning, endUnsaid), // lockdep before 4.11, and "Invalid wait context"
	begins(`BUG: `, KindBug, endUnsaid),
	begins(`WARNING: (CPU: \d+ PID: \d+ )?at `, KindWarning, endTrace),
	begins(`WARNING: \S+:\d+ at `, KindWarning, endTrace), // from 6.19 on
	// lockdep
	framed(`WARNING: (possible|suspicious|inconsistent|bad|held|lock|Nested|process|\S+ still|\S+safe) `, KindWarning,
		endUnsaid),
	begins(`Kernel panic - not syncing: `, KindPanic, endPanic),
}

func findHeadline(text string, inFrame bool) *headline {
	for i := range headlines {
		if h := &headlines[i]; (inFrame || !h.framed) && h.pattern.MatchString(text) {
			return h
		}
	}
	return nil
}

var (
	// A panic for one of these reasons follows from a report before it.
	consequence = regexp.MustCompile(`^Kernel panic - not syncing: (Fatal exception|kernel: panic_on_warn set|panic_on_warn set|kasan\.fault=panic set|` +
		`KASAN: panic_on_warn|hung_task: blocked tasks|softlockup: hung tasks|Hard LOCKUP|RCU Stall|UBSAN: panic_on_warn|(KFENCE|KCSAN|KMSAN): panic_on_warn)`)

	frameLine = regexp.MustCompile(`^={20,}$`)
	cutHere   = regexp.MustCompile(`^-+\[ cut here \]-+$`)
	traceEnd  = regexp.MustCompile(`^---\[ end trace `)
	panicEnd  = regexp.MustCompile(`^---\[ end Kernel panic`)

	// symbol is a place in the kernel's code.
	symbol = regexp.MustCompile(`([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+`)
	// part is a line that belongs to a report, beside those that are indented or name a symbol.
	part = regexp.MustCompile(`^([ \t]|$|CPU: |CPU#|PC: |Hardware name: |Tainted: |R\w\w?:|RIP|EFLAGS|E?[A-D]X: |[CDEFG]S: |CR[0234]: |DR\d: |PKRU|Code: |Stack:|` +
		`Call [Tt]race:|Modules linked in|Oops|#PF|PGD |IP: |EIP|Mem abort|Data abort|pc : |lr : |sp : |pstate: |[xX]\d+ ?: |Process |task:|Task dump|` +
		`"echo 0 >|Showing (all )?|\d+ locks? (held|on stack)|NMI backtrace|Sending NMI|rcu: |(Blocked|INFO: lockdep)|Workqueue: |Last |` +
		`(Read|Write) of size|Allocated |Freed |The buggy|Memory state|flags: |raw: |page:|page dumped|>?[0-9a-f]{8,}|This frame|` +
		`irq event|(hard|soft)irqs (last|enabled|disabled)|stack backtrace|other info|but (task|now|there)|the existing|which lock|-> #|and this task|is (trying|already)|` +
		`preempt_count|in_atomic|Preemption|note: |KASAN: |Kernel Offset|Rebooting|---|(pool|workqueue) |busy)`)
)

// isPart reports whether a line looks like a part of a report.
func isPart(text string) bool {
	return symbol.MatchString(text) || part.MatchString(text)
}

// continues reports whether a headline only says more of what the one before it
// said: an oops is announced by one line and named by the next.
func continues(before, now *headline, title string) bool {
	switch {
	case now.kind != KindOops || before.end != endTrace:
		return false
	case before.kind == KindOops:
		return strings.HasPrefix(title, "BUG: ") || strings.HasPrefix(title, "Unable to handle ")
	}
	return before.kind == KindBug // kernel BUG at, then: invalid opcode
}
