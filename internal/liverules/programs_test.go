package liverules

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// A program is the rule set of one, in testdata/programs, written by hand in the shape
// that it installs.
type program struct {
	name   string // of the file; .rules is iptables-restore's, .nft nft's
	before string // commands that make what the rules name
	own    string // more tables, for queues by priority

	tracked                    [2]Answer // IPv4, IPv6
	rewrites, sources, exempts int       // rules that translate the destination, the source, and notrack
	placed                     []placed
}

// placed is a queue rule among them, and what is to be said of it.
type placed struct {
	// how is the rule: of iptables without its target, of nft with QUEUE for it.
	how string
	// hooks and priorities from which packets come; empty: none does.
	hooks     string
	exposure  Exposure
	untracked Answer
	rewrites  int // that its packets may have met before
}

func TestProgramsOfIPTables(t *testing.T) {
	for _, p := range iptablesPrograms {
		for _, variant := range []string{"nft", "legacy"} {
			t.Run(p.name+"/"+variant, func(t *testing.T) {
				bareNamespace(t)
				commands(t, p.before)
				text := p.text(t, ".rules")
				run(t, text, "iptables-"+variant+"-restore")
				p.check(t)
				for _, q := range p.placed {
					line := fmt.Sprintf("iptables-%s %s -j NFQUEUE --queue-num 1", variant, q.how)
					commands(t, line)
					q.check(t)
					commands(t, placedRule.ReplaceAllString(line, " -D $1$2 ")) // or it would take what comes to the next
				}
			})
		}
	}
}

func TestProgramsOfNFTables(t *testing.T) {
	for _, p := range nftPrograms {
		t.Run(p.name, func(t *testing.T) {
			bareNamespace(t)
			commands(t, p.before)
			text := p.text(t, ".nft")
			run(t, text, "nft", "-f", "-")
			p.check(t)
			run(t, p.own, "nft", "-f", "-")
			for i, q := range p.placed {
				family, table := strings.Fields(q.how)[2], strings.Fields(q.how)[3]
				chain := fmt.Sprintf("%s %s queue%d", family, table, i+1)
				run(t, fmt.Sprintf("add chain %s\n%s\n", chain, strings.Replace(q.how, "QUEUE", fmt.Sprintf("jump queue%d", i+1), 1)), "nft", "-f", "-")
				addQueue(t, map[string]nftables.TableFamily{"ip": nftables.TableFamilyIPv4, "inet": nftables.TableFamilyINet}[family],
					table, fmt.Sprintf("queue%d", i+1), 0, words(1))
				q.check(t)
				run(t, "flush chain "+chain+"\n", "nft", "-f", "-")
			}
		})
	}
}

// bareNamespace is one in which nothing tracks connections yet.
func bareNamespace(t *testing.T) {
	t.Helper()
	testkit.Require(t)
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	leave, err := ns.Enter()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := leave(); err != nil {
			t.Error(err)
		}
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
}

// text is the program's rule set without what this machine's kernel lacks, each of
// which is named.
func (p program) text(t *testing.T, suffix string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/programs/" + p.name + suffix)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// placedRule is where iptables is told to put one.
var placedRule = regexp.MustCompile(` -(?:I (\S+) \d+|A (\S+)) `)

// complete: no rule that the tools list is missing in what was read.
func complete(t *testing.T) {
	t.Helper()
	want := strings.Count(output(t, "nft", "-j", "list", "ruleset"), `{"rule": `) + strings.Count("\n"+output(t, "iptables-legacy-save"), "\n-A ")
	chains, _, err := readNFTables()
	if err != nil {
		t.Fatal(err)
	}
	legacy, err := readLegacy(protocols[0])
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for _, c := range slices.Concat(chains, legacy) {
		got += len(c.rules)
		if c.source == XTables && c.base == nil {
			got-- // the return that each ends with
		}
	}
	if got != want || want == 0 {
		t.Errorf("%d rules were read, want %d", got, want)
	}
}

func output(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	cmd := exec.Command(name, arguments...)
	cmd.Env = append(cmd.Environ(), "XTABLES_LOCKFILE="+t.TempDir()+"/lock")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}

// check compares what is read of the program's own rules with what is expected, and
// whether connections are tracked with what becomes of packets.
func (p program) check(t *testing.T) {
	t.Helper()
	complete(t)
	rules := read(t)
	if c := rules.Conntrack; c.IPv4 != p.tracked[0] || c.IPv6 != p.tracked[1] {
		t.Errorf("conntrack %+v, want %v", c, p.tracked)
	}
	if got, want := [...]int{len(rules.Rewrites), len(rules.SourceNAT), len(rules.Notracks)}, [...]int{p.rewrites, p.sources, p.exempts}; got != want {
		t.Errorf("rules that translate the destination, the source, and notrack: %v, want %v", got, want)
	}
	if len(rules.Queues) > 0 {
		t.Errorf("queue rules %v, want none", rules.Queues)
	}
	for i, host := range []string{"127.0.0.1", "::1"} {
		if got := entersConntrack(t, host); got != (p.tracked[i] == Yes) {
			t.Errorf("%s: a packet's flow was tracked: %v, said: %s", host, got, p.tracked[i])
		}
	}
}

func (want placed) check(t *testing.T) {
	t.Helper()
	rules := read(t)
	q := queueOf(t, rules, 1)
	if got := tell(q); got.hooks != want.hooks || q.Exposure != want.exposure {
		t.Errorf("%s:\n%q, %s (%s), want %q, %s", want.how, got.hooks, q.Exposure, q.Reason, want.hooks, want.exposure)
	}
	if len(q.Reaches) == 0 {
		return
	}
	for _, r := range q.Reaches {
		before := (r.Hook == "prerouting" || r.Hook == "output") && r.Priority < LookupPriority
		if (r.Position == BeforeLookup) != before || r.Position == Undecided || r.Position == Outside {
			t.Errorf("%s: position %s in %s at %d", want.how, r.Position, r.Hook, r.Priority)
		}
	}
	worst := q.Reaches[0]
	if untracked := cmp.Or(want.untracked, No); worst.Untracked != untracked {
		t.Errorf("%s: untracked: %s, want %s", want.how, worst.Untracked, untracked)
	}
	if got := len(rules.RewritesBefore(Site{q, worst})); got != want.rewrites {
		t.Errorf("%s: %d rules may have given its packets another destination, want %d", want.how, got, want.rewrites)
	}
}

// entersConntrack sends a packet over loopback and sees whether conntrack has its flow.
func entersConntrack(t *testing.T, host string) bool {
	t.Helper()
	address, err := net.ResolveUDPAddr("udp", net.JoinHostPort(host, "9"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialUDP("udp", nil, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before, _, err := readNumber("/proc/sys/net/netfilter/nf_conntrack_count")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	after, _, err := readNumber("/proc/sys/net/netfilter/nf_conntrack_count")
	if err != nil {
		t.Fatal(err)
	}
	return after > before
}

// keeping is what activates conntrack besides rules: it is enough that it is there.
func TestKeepers(t *testing.T) {
	for _, c := range []struct{ name, table, says string }{
		{"helper", "ct helper h {\n type \"tftp\" protocol udp\n }", "ct helper h of nftables table ip t"},
		{"expectation", "ct expectation e {\n protocol udp\n dport 9876\n timeout 2m\n size 12\n l3proto ip\n }", "ct expectation e"},
		{"synproxy", "synproxy s {\n mss 1460\n wscale 7\n }", "synproxy s"},
		{"set", "set s {\n type ipv4_addr\n flags dynamic\n ct count over 5\n }", "ct count in set s"},
		{"statement", "set s {\n type ipv4_addr\n flags dynamic\n }\n chain d {\n type filter hook forward priority 0\n add @s { ip saddr ct count over 5 } accept\n }", "rule ip t d"},
		{"limit", "limit l {\n rate 1/second\n }", ""},
		{"meter", "set s {\n type ipv4_addr\n flags dynamic\n }\n chain d {\n type filter hook forward priority 0\n add @s { ip saddr limit rate 1/second } accept\n }", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			bareNamespace(t)
			text := "table ip t {\n" + c.table + "\n chain c {\n type filter hook output priority 0\n }\n}\n"
			path, err := exec.LookPath("nft")
			if err != nil {
				t.Skip("no nft")
			}
			cmd := exec.Command(path, "-f", "-")
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("nft: %v: %s", err, out)
			}
			addQueue(t, nftables.TableFamilyIPv4, "t", "c", 0, words(1))
			want, exposure := Yes, Exposed
			if c.says == "" {
				want, exposure = No, NotExposed
			}
			rules := read(t)
			if got := rules.Conntrack; got.IPv4 != want || !strings.Contains(got.Reason, c.says) {
				t.Errorf("%+v, want %s: ...%s...", got, want, c.says)
			}
			if q := queueOf(t, rules, 1); q.Exposure != exposure {
				t.Errorf("%s (%s), want %s", q.Exposure, q.Reason, exposure)
			}
		})
	}
}
