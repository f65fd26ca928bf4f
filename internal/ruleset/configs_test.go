package ruleset

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"

	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// The files in configs/ are for those who load the rules themselves. They have
// to do what Install does.
const configs = "../../configs"

// gateQueues are the numbers of the files' gate: arrivals, then announcements.
const gateQueues = 61440

// fileGate is the gate of the files.
func fileGate() *Gate {
	g := testGate()
	g.FirstQueue, g.SettledSize, g.SettledTimeout = gateQueues, 1<<16, 15*time.Second
	return &g
}

// exposed tells whether packets have unconfirmed entries where they wait, so that
// the placement's files have a gate.
func exposed(p vocabulary.Placement) bool {
	return p != vocabulary.PlacementNone && p != vocabulary.PlacementPreConntrack && p != vocabulary.PlacementNotrack
}

// ownQueues is the configuration of the files, for a listener.
func ownQueues(p vocabulary.Placement) Config {
	c := Config{FirstQueue: 0, Queues: 1}
	if exposed(p) {
		c.Gate = fileGate()
	}
	return c
}

// tool finds a program that few users have in their search path.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// run runs a program in the calling thread's namespace.
func run(t *testing.T, input, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(tool(t, name), args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = append(os.Environ(), "XTABLES_LOCKFILE="+filepath.Join(t.TempDir(), "lock"))
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, output)
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{configs}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	nativeQueue  = regexp.MustCompile(`queue num \d+ bypass`)
	verdictQueue = regexp.MustCompile(`queue num 0 bypass`)
)

// The nftables files have the base chains of Install, and queue the same
// packets. Where the kernel has no queue statement for them, drop stands in for
// it, and what would have been queued is seen by its loss.
func TestNftablesFiles(t *testing.T) {
	for _, placement := range vocabulary.Placements()[1:] {
		t.Run(string(placement), func(t *testing.T) {
			text := read(t, "nftables", string(placement)+".nft")
			if !nativeQueue.MatchString(text) {
				t.Fatal("no queue statement")
			}
			bothFamilies(t, func(t *testing.T, ipv6 bool) {
				ways := ways(t, placement, ipv6)
				rules := text
				native := try(queueStatement(KindNative, queueRange{total: 1})) == nil
				if !native {
					t.Log("this kernel has no nftables queue statement: drop stands in for it")
					expectRefusedByKernelOnly(t, text)
					rules = nativeQueue.ReplaceAllString(verdictQueue.ReplaceAllString(text, "drop"), "accept")
				}
				run(t, rules, "nft", "-f", "-")
				expectBaseChains(t, placement)
				before := ruleCount(t)
				run(t, rules, "nft", "-f", "-")
				if after := ruleCount(t); after != before || before == 0 {
					t.Errorf("%d rules, and %d after loading again", before, after)
				}

				if native {
					l := listen(t, ownQueues(placement), nil)
					expectQueued(t, placement, l, ways, exposed(placement))
				} else {
					expectDropped(t, ways)
				}
			})
		})
	}
}

// expectRefusedByKernelOnly has nft parse the file as it is: a kernel without the
// queue statement refuses it, nft must not.
func expectRefusedByKernelOnly(t *testing.T, text string) {
	t.Helper()
	cmd := exec.Command(tool(t, "nft"), "-c", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	output, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("nft accepts a file that the kernel must refuse")
	}
	for line := range strings.Lines(string(output)) {
		if strings.Contains(line, "Error: ") && !strings.Contains(line, "Error: Could not process rule: ") {
			t.Errorf("nft: %s", line)
		}
	}
}

// expectDropped is expectQueued for rules in which drop stands in for queue.
func expectDropped(t *testing.T, ways []way) {
	t.Helper()
	for _, w := range ways {
		f := open(t, w.from, w.to, netip.AddrPortFrom(w.address, dns))
		if len(w.queued) == 0 {
			f.deliver()
			continue
		}
		f.send(1)
		if f.receive(hardly) {
			t.Errorf("%s: not queued", w.name)
		}
	}
}

// expectBaseChains compares the base chains with those that Install makes.
func expectBaseChains(t *testing.T, p vocabulary.Placement) {
	t.Helper()
	type base struct {
		name     string
		hook     nftables.ChainHook
		priority nftables.ChainPriority
	}
	var got, want []base
	chains, err := (&nftables.Conn{}).ListChainsOfTableFamily(family)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chains {
		if c.Table.Name == "verdictd" && c.Hooknum != nil {
			got = append(got, base{c.Name, *c.Hooknum, *c.Priority})
		}
	}
	c := udpRules(p, vocabulary.FanoutBalance, 1)
	c.Gate = ownQueues(p).Gate
	for _, made := range newTable(c, KindNative, allParts).chains {
		if h := made.hook; h != nil {
			want = append(want, base{made.name, *h.number(), h.priority})
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("base chains %v, want %v", got, want)
	}
}

func ruleCount(t *testing.T) (n int) {
	t.Helper()
	conn := &nftables.Conn{}
	chains, err := conn.ListChainsOfTableFamily(family)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chains {
		if c.Table.Name == "verdictd" {
			rules, err := conn.GetRules(c.Table, c)
			if err != nil {
				t.Fatal(err)
			}
			n += len(rules)
		}
	}
	return n
}

// The iptables files load for both families and queue what Install queues.
func TestIptablesFiles(t *testing.T) {
	for _, placement := range vocabulary.Placements()[1:] {
		t.Run(string(placement), func(t *testing.T) {
			text := read(t, "iptables", string(placement)+".rules")
			bothFamilies(t, func(t *testing.T, ipv6 bool) {
				ways := ways(t, placement, ipv6)
				for _, restore := range []string{"iptables-restore", "ip6tables-restore"} {
					run(t, text, restore, "--noflush")
				}
				l := listen(t, ownQueues(placement), nil)
				expectQueued(t, placement, l, ways, exposed(placement))
			})
		})
	}
}

// The commands to unload that each file names take away all it loaded.
func TestIptablesUnload(t *testing.T) {
	command := regexp.MustCompile(`iptables (-t \w+ -[DFX][^&\n]*)`)
	for _, placement := range vocabulary.Placements()[1:] {
		t.Run(string(placement), func(t *testing.T) {
			testkit.Namespace(t)
			text := read(t, "iptables", string(placement)+".rules")
			run(t, text, "iptables-restore", "--noflush")
			for _, match := range command.FindAllStringSubmatch(text, -1) {
				run(t, "", "iptables", strings.Fields(match[1])...)
			}
			output, err := exec.Command(tool(t, "iptables-save")).Output()
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(output)) {
				if strings.HasPrefix(line, "-A") || strings.HasPrefix(line, ":VERDICTD") {
					t.Errorf("left: %s", line)
				}
			}
		})
	}
}

// Every file is for a placement, and so is tested.
func TestNoFurtherFiles(t *testing.T) {
	for folder, suffix := range map[string]string{"nftables": ".nft", "iptables": ".rules"} {
		entries, err := os.ReadDir(filepath.Join(configs, folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name, ok := strings.CutSuffix(e.Name(), suffix)
			if err := vocabulary.Check("placement", vocabulary.Placement(name)); !ok || err != nil {
				t.Errorf("%s/%s: not %s with the name of a placement", folder, e.Name(), suffix)
			}
		}
	}
}

// The settings exist, under the names they are given.
func TestSysctlFile(t *testing.T) {
	testkit.Namespace(t) // with conntrack, which makes its settings appear
	setting := regexp.MustCompile(`^#?([a-z0-9_.]+) = \d+$`)
	found := 0
	for line := range strings.Lines(read(t, "sysctl.d", "90-verdictd.conf")) {
		match := setting.FindStringSubmatch(strings.TrimSpace(line))
		if match == nil {
			continue
		}
		found++
		if match[1] == "net.core.netdev_max_backlog" {
			continue // only visible in the initial network namespace
		}
		path := filepath.Join("/proc/sys", strings.ReplaceAll(match[1], ".", "/"))
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if found == 0 {
		t.Error("no settings found")
	}
}

// The lines are what systemd-modules-load takes: one module's name.
func TestModulesFile(t *testing.T) {
	name := regexp.MustCompile(`^#?[a-zA-Z0-9_]+$`)
	loaded := map[string]bool{}
	for line := range strings.Lines(read(t, "modules-load.d", "verdictd.conf")) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line == "#" || strings.HasPrefix(line, "# "):
		case !name.MatchString(line):
			t.Errorf("line %q is no module's name", line)
		default:
			loaded[line] = true
		}
	}
	for _, line := range []string{"nfnetlink_queue", "nf_conntrack", "nft_queue", "#xt_NFQUEUE", "#nf_conntrack_netlink"} {
		if !loaded[line] {
			t.Errorf("no line %q", line)
		}
	}
}
