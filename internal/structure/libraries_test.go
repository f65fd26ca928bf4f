package structure

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// behind are libraries that one package, or a few, hide from the others: whoever
// wants what they do goes through these. The keys are prefixes of import paths.
var behind = map[string]struct {
	users []string
	why   string
}{
	"github.com/florianl/go-nfqueue": {[]string{"internal/nfq", "lab"}, "internal/nfq has one interface for both backends; lab has a program on it to compare with"},
	"github.com/google/nftables":     {[]string{"internal/ruleset", "internal/netlab", "internal/liverules"}, "rules are internal/ruleset's, and netlab's in its namespaces"},
	"github.com/ti-mo":               {[]string{"internal/ct", "lab"}, "conntrack is read by internal/ct; lab compares with a listener on it"},
	"github.com/vishvananda":         {[]string{"internal/netlab"}, "namespaces and links are internal/netlab's"},
	"github.com/google/gopacket":     {[]string{"daemon/internal/journal", "daemon/internal/replay", "daemon/internal/samples"}, "it allocates for each packet: an oracle in tests, never on a packet's way; journal and samples write packets, replay reads them"},
	"github.com/alecthomas/kong":     {[]string{"internal/cli", "daemon", "stress", "conntrackwatch", "lab"}, "flags belong to the commands"},
	"flag":                           {[]string{"internal/testkit"}, "flags belong to the commands, which use kong"},
}

// notPure are packages that nothing pure may import.
var notPure = []string{"net", "os", "os/exec", "syscall", "github.com/mdlayher"}

func within(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

func TestLibrariesStayBehindTheirPackages(t *testing.T) {
	used := map[string]bool{}
	for _, p := range list(t) {
		folder := p.folder()
		for _, i := range p.Imports {
			for library, rule := range behind {
				if !within(i, library) && !(library != "flag" && strings.HasPrefix(i, library)) {
					continue
				}
				used[library] = true
				if !slices.ContainsFunc(rule.users, func(u string) bool { return folder == u || u == "lab" && within(folder, u) }) {
					t.Errorf("%s imports %s, which only %v may: %s", folder, i, rule.users, rule.why)
				}
			}
			if slices.Contains(pure, p.folder()) && slices.ContainsFunc(notPure, func(n string) bool { return i == n || strings.Contains(n, ".") && within(i, n) }) {
				t.Errorf("%s imports %s: it is to be pure, without sockets, files and programs", folder, i)
			}
		}
	}
	for library := range behind {
		if rule := behind[library]; len(rule.users) > 0 && !used[library] {
			t.Errorf("nothing imports %s any more: take it out of the list", path.Base(library))
		}
	}
}
