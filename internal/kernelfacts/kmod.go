package kernelfacts

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Kmod is the program that loads modules.
type Kmod struct {
	// Version is kmod's, 0 for another program (module-init-tools, BusyBox).
	Version int `json:"version"`
	// Text is what it says of itself.
	Text string `json:"text"`
}

var kmodVersion = regexp.MustCompile(`^kmod version (\d{1,4})\b`)

// kmodTimeout bounds a question that takes milliseconds.
const kmodTimeout = 5 * time.Second

// ReadKmod asks for the version. kmod and modprobe are one program where kmod
// loads the modules.
func ReadKmod(ctx context.Context, run Runner) Reading[Kmod] {
	ctx, cancel := context.WithTimeout(ctx, kmodTimeout)
	defer cancel()
	var problems []error
	// The kernel calls modprobe, so that one's answer counts.
	for _, program := range []string{"modprobe", "kmod"} {
		out, err := run(ctx, program, "--version")
		if err != nil {
			problems = append(problems, fmt.Errorf("could not read the version of %s: %w", program, err))
			continue
		}
		text, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		k := Kmod{Text: text}
		if m := kmodVersion.FindStringSubmatch(text); m != nil {
			k.Version, _ = strconv.Atoi(m[1]) // at most four digits
		}
		return read(k)
	}
	return unread[Kmod](together(problems...))
}

// kmodRace is the first kmod without the race.
const kmodRace = 20

// KmodRace is the fault of modprobe that two threads meet who open a netlink
// socket at the same time, while the module behind it is not loaded yet.
var KmodRace = Fact{
	ID:      "kmod-builtin-race",
	Effect:  "modprobe takes a module that is being loaded for built in and returns: the socket fails with EPROTONOSUPPORT",
	Trigger: "several threads or processes that need the same module at the same time",
	Fix:     []Commit{{Hash: "fd44a98ae2eb"}},
}

// AssessKmod says whether the machine's modprobe has the race.
func AssessKmod(k Reading[Kmod]) Finding {
	switch {
	case k.Err != nil:
		return KmodRace.finding(Unknown, k.Err.Error())
	case k.Value.Version == 0:
		return KmodRace.finding(Unknown, fmt.Sprintf("modules are loaded by %q, which is not kmod", k.Value.Text))
	case k.Value.Version < kmodRace:
		return KmodRace.finding(Affected, fmt.Sprintf("kmod %d is older than %d, which has the fix", k.Value.Version, kmodRace))
	}
	return KmodRace.finding(Fixed, fmt.Sprintf("kmod %d has the fix, which came with %d", k.Value.Version, kmodRace))
}
