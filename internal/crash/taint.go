package crash

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// taints are the bits of the taint mask, from the lowest: the kernel's letter and what it means
// (Documentation/admin-guide/tainted-kernels.rst).
var taints = []struct{ letter, meaning string }{
	{"P", "a proprietary module was loaded"},
	{"F", "a module was loaded by force"},
	{"S", "the processor or system is out of its specification"},
	{"R", "a module was unloaded by force"},
	{"M", "the processor reported a machine check exception"},
	{"B", "a bad page was found"},
	{"U", "user space asked for it"},
	{"D", "the kernel died: an oops or BUG"},
	{"A", "an ACPI table was overridden"},
	{"W", "the kernel printed a warning"},
	{"C", "a staging driver was loaded"},
	{"I", "a firmware fault was worked around"},
	{"O", "an out-of-tree module was loaded"},
	{"E", "an unsigned module was loaded"},
	{"L", "a soft lockup occurred"},
	{"K", "the kernel was patched live"},
	{"X", "the distribution's own taint"},
	{"T", "the kernel was built with the randstruct plugin"},
	{"N", "a test of the kernel's own ran"},
	{"J", "a firmware's debugging interface was used"},
}

// taintFile is a variable for the tests.
var taintFile = "/proc/sys/kernel/tainted"

// Taint is the kernel's taint mask, 0 for a kernel that nothing has gone wrong
// with. [DescribeTaint] says what its bits mean.
func Taint() (uint64, error) {
	text, err := os.ReadFile(taintFile)
	if err != nil {
		return 0, fmt.Errorf("read the kernel's taint mask: %w", err)
	}
	mask, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the kernel's taint mask from %s: %w", taintFile, err)
	}
	return mask, nil
}

// DescribeTaint says in words what the bits of a mask mean, "" for none.
func DescribeTaint(mask uint64) string {
	var words []string
	for i, t := range taints {
		if mask&(1<<i) != 0 {
			words = append(words, t.letter+": "+t.meaning)
			mask &^= 1 << i
		}
	}
	if mask != 0 {
		words = append(words, fmt.Sprintf("bits %#x, which this program does not know", mask))
	}
	return strings.Join(words, "; ")
}
