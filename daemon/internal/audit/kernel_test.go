package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"verdictd/internal/ct"
	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// iptables runs a program of legacy iptables where the machine has it.
func iptables(t *testing.T, line string) bool {
	t.Helper()
	words := strings.Fields(line)
	path, err := exec.LookPath(words[0])
	if errors.Is(err, exec.ErrNotFound) {
		return false
	}
	cmd := exec.Command(path, words[1:]...)
	// Not root's lock file, which an ordinary user cannot open.
	cmd.Env = append(cmd.Environ(), "XTABLES_LOCKFILE="+t.TempDir()+"/lock")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return true
}

// xtQueue makes a base chain with one NFQUEUE rule, through nft_compat.
func xtQueue(t *testing.T, table string, hook *nftables.ChainHook, priority nftables.ChainPriority, queue byte) {
	t.Helper()
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	parent := conn.AddTable(&nftables.Table{Name: table, Family: nftables.TableFamilyIPv4})
	chain := conn.AddChain(&nftables.Chain{Name: "c", Table: parent, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: &priority})
	info := xt.Unknown{queue, 0, 1, 0, 1, 0, 0, 0} // struct xt_NFQ_info_v3: number, total, flags (bypass)
	conn.AddRule(&nftables.Rule{Table: parent, Chain: chain, Exprs: []expr.Any{&expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}}})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestMixedRules reads what several programs have made of one namespace.
func TestMixedRules(t *testing.T) {
	testkit.Namespace(t)
	if r := Judge(Read(context.Background(), nil)); r.Verdict != NotExposed {
		t.Fatalf("without rules: %s: %s", r.Verdict, r.Sentence)
	}
	if _, err := ruleset.Install(ruleset.Config{
		Table: "verdictd", Placement: vocabulary.PlacementPreConntrack, Fanout: vocabulary.FanoutBalance, FirstQueue: 1, Queues: 2,
		IPv4: true, IPv6: true, Protocols: []uint8{unix.IPPROTO_UDP},
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"1 not-exposed before-lookup"}
	if r := Judge(Read(context.Background(), nil)); r.Verdict != NotExposed {
		t.Fatalf("with a queue before conntrack: %s: %s", r.Verdict, r.Sentence)
	}
	xtQueue(t, "first", nftables.ChainHookOutput, -150, 10)
	xtQueue(t, "second", nftables.ChainHookPostrouting, 0, 11)
	want = append(want, "10 exposed between-lookup-and-confirm", "11 exposed between-lookup-and-confirm")
	if iptables(t, "iptables-legacy -t mangle -A INPUT -p udp -j NFQUEUE --queue-num 20") {
		iptables(t, "iptables-legacy -t filter -A INPUT -p tcp -j NFQUEUE --queue-num 21")
		iptables(t, "iptables-legacy -t raw -A PREROUTING -p udp -j NFQUEUE --queue-num 22")
		want = append(want, "20 exposed between-lookup-and-confirm", "21 not-exposed between-lookup-and-confirm", "22 not-exposed before-lookup")
	}
	q, err := nfq.Open(vocabulary.BackendMmsg, nfq.Config{Queue: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	listener, err := ct.Listen(ct.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	m := Read(context.Background(), nil)
	if answer := Judge(m); answer.Verdict == NotExposed || !strings.Contains(answer.Sentence, "output") && !strings.Contains(answer.Sentence, "input") {
		t.Errorf("%s: %s", answer.Verdict, answer.Sentence)
	}
	wantMixed(t, m, want)
}

// wantMixed checks what was read of the machine that TestMixedRules made.
func wantMixed(t *testing.T, m *Machine, want []string) {
	t.Helper()
	var got []string
	for _, rule := range m.Rules.Queues {
		got = append(got, fmt.Sprintf("%d %s %s", rule.First, rule.Exposure, rule.Reaches[0].Position))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("rules %v, want %v", got, want)
	}
	me := os.Getpid()
	if len(m.Queues.Value) != 1 || m.Queues.Value[0].Queue != 10 || m.Queues.Value[0].Holder == nil || m.Queues.Value[0].Holder.PID != me {
		t.Errorf("queues %+v, %v, want 10, held by %d", m.Queues.Value, m.Queues.Err, me)
	}
	if l := m.Events.Listeners.Value; len(l) != 1 || l[0].Process == nil || l[0].Process.PID != me || len(l[0].Groups) != 3 {
		t.Errorf("listeners %+v, %v, want this process in three groups", l, m.Events.Listeners.Err)
	}
	if m.Events.On != liverules.Yes && m.Host.Conntrack.Events.Value != eventsOff {
		t.Errorf("events %+v with a listener, want on", m.Events)
	}
	if !slices.ContainsFunc(m.Sequences, func(s Sequence) bool {
		return strings.Contains(s.First, "first c") && strings.Contains(s.Then, "second c") && s.SameHolder == liverules.Unknown
	}) {
		t.Errorf("sequences %+v, want first and then second, the holder of which is not known", m.Sequences)
	}
}

// TestGateAtWork: what another process's gate holds is not exposed.
func TestGateAtWork(t *testing.T) {
	testkit.Namespace(t)
	xtQueue(t, "first", nftables.ChainHookOutput, -150, 10)
	g := ruleset.Gate{
		FirstQueue: 100, Queues: 1, Settled: true, SettledSize: 100, SettledTimeout: time.Second,
		Traffic: []ruleset.Traffic{{IPv4: true, IPv6: true, Protocols: vocabulary.GateProtocols()}},
	}
	if _, err := ruleset.Install(ruleset.Config{
		Table: "verdictd-guard", Placement: vocabulary.PlacementNone, Fanout: vocabulary.FanoutBalance, Queues: 1, IPv4: true, IPv6: true, Gate: &g,
	}); err != nil {
		t.Fatal(err)
	}
	if a := Judge(Read(context.Background(), nil)); a.Verdict == NotExposed {
		t.Errorf("a gate that nobody serves: %s", a.Sentence)
	}
	q, err := nfq.Open(vocabulary.BackendMmsg, nfq.Config{Queue: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	m := Read(context.Background(), nil)
	if a := Judge(m); m.clash() != liverules.No || len(m.Gates) != 1 || !slices.ContainsFunc(a.Why, func(s string) bool { return strings.HasPrefix(s, "Guarded: nftables rule ip first c") }) {
		t.Errorf("with a gate: %+v: %s", m.Gates, a.Why)
	}
	if len(m.Sequences) > 0 {
		t.Errorf("the gate counts as a queue behind another one: %+v", m.Sequences)
	}
}

// TestAtStart counts no clash of a guarded queue, and runs no program.
func TestAtStart(t *testing.T) {
	testkit.Namespace(t)
	t.Setenv("PATH", t.TempDir())
	xtQueue(t, "first", nftables.ChainHookOutput, -150, 10)
	answer, m := AtStart(context.Background(), nil)
	if answer.Verdict == NotExposed {
		t.Errorf("unguarded: %s: %s", answer.Verdict, answer.Sentence)
	}
	if !errors.Is(m.Host.Changelog.Err, errNotAsked) || !errors.Is(m.Host.Kmod.Err, errNotAsked) {
		t.Errorf("changelog %v, kmod %v: want neither asked", m.Host.Changelog.Err, m.Host.Kmod.Err)
	}
	if slices.ContainsFunc(m.Unread, func(u Unread) bool { return strings.Contains(u.Why, errNotAsked.Error()) }) {
		t.Errorf("unread %+v: what was not asked is no failure", m.Unread)
	}
	if answer, m := AtStart(context.Background(), []uint16{10}); m.clash() != liverules.No {
		t.Errorf("guarded: %s: %s", answer.Verdict, answer.Sentence)
	}
}

func TestBridges(t *testing.T) {
	testkit.Namespace(t)
	if b, err := listBridges(); err != nil || len(b) > 0 {
		t.Errorf("%v, %v, want none", b, err)
	}
	if out, err := exec.Command("ip", "link", "add", "br0", "type", "bridge").CombinedOutput(); err != nil {
		t.Skipf("no bridge can be made: %v: %s", err, out)
	}
	if b, err := listBridges(); err != nil || !slices.Equal(b, []string{"br0"}) {
		t.Errorf("%v, %v, want br0", b, err)
	}
}

// TestProbeClashes: whatever the kernel, packets whose verdicts come late clash;
// where it counts that, the probe sees it.
func TestProbeClashes(t *testing.T) {
	testkit.Require(t)
	p, err := RunProbe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s", p.Outcome, p.Meaning)
	if p.Flows != probeFlows || p.Sent != probeFlows*packetsPerFlow || p.QueueDropped+p.UserDropped > 0 || p.TaintBefore != p.TaintAfter {
		t.Errorf("%+v", p)
	}
	if testkit.CountsClashes(t) && p.ClashResolve != nil && *p.ClashResolve+*p.InsertFailed < probeFlows {
		t.Errorf("%d clashes were resolved and %d not, want at least one in each of %d flows", *p.ClashResolve, *p.InsertFailed, probeFlows)
	}
}
