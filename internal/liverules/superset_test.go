package liverules

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// The ports of the packets in these tests, and of the rules' conditions.
var somePorts = []uint16{1024, 5300, 5301, 5310, 40000, 65535}

// A writer writes random rules in a program's language.
type writer struct {
	*rand.Rand
}

func (w writer) port() uint16          { return somePorts[w.IntN(len(somePorts))] }
func (w writer) of(s ...string) string { return s[w.IntN(len(s))] }

func (w writer) portRange() (first, last uint16) {
	a, b := w.port(), w.port()
	return min(a, b), max(a, b)
}

// ports is a list without overlaps.
func (w writer) ports(separator string) string {
	a, b := w.portRange()
	list := []string{fmt.Sprint(a)}
	if a != b {
		list = append(list, fmt.Sprint(b))
	}
	if separator == ", " && int(a)+2 < int(b) {
		list[1] = fmt.Sprintf("%d-%d", a+1, b)
	}
	return strings.Join(list, separator)
}

func (w writer) nftCondition() string {
	first, last := w.portRange()
	side := w.of("udp dport ", "udp sport ", "th dport ")
	switch w.IntN(16) {
	case 13:
		return w.of("meta mark set ct mark", "ct mark set meta mark", "meta mark set ct mark or 1", "counter")
	case 14:
		return "meta mark set " + w.of("numgen inc mod 3 map { 0 : 0 }", fmt.Sprintf("udp dport map { %d : 0 }", first),
			"jhash ip saddr mod 2 map { 0 : 0 }", "symhash mod 2 map { 0 : 0, 1 : 0 }")
	case 0:
		return side + w.of("", "!= ") + fmt.Sprint(first)
	case 1:
		return side + w.of("", "!= ") + "{ " + w.ports(", ") + " }"
	case 2, 3:
		if first == last {
			first--
		}
		return side + w.of("", "!= ") + fmt.Sprintf("%d-%d", first, last)
	case 4:
		return side + w.of(">= ", "<= ") + fmt.Sprint(first)
	case 5:
		return side + w.of("> ", "< ") + "5300"
	case 6:
		return "meta l4proto " + w.of("udp", "!= udp", "!= tcp", "{ udp, icmp }", "!= { icmp, tcp }")
	case 7:
		return "ct state " + w.of("new", "established,related", "!= new", "{ new, established }", "!= { established }", "invalid")
	case 8:
		return "udp dport . udp sport " + w.of("", "!= ") + fmt.Sprintf("{ %d . %d, %d . 1024 }", first, w.port(), last)
	case 9:
		return fmt.Sprintf("meta l4proto . th dport { udp . %d-%d, tcp . 80 }", first, last)
	case 10:
		return "ip " + w.of("saddr", "daddr") + " " + w.of("127.0.0.1", "!= 127.0.0.1", "192.0.2.1")
	case 11:
		return "udp " + w.of("dport", "sport") + w.of(" ", " != ") + w.of("@steady", "@timed")
	case 12:
		return w.of("meta mark 0", "meta nfproto ipv4", "meta nfproto ipv6", `oifname "lo"`)
	}
	return ""
}

// nftRule ends with a verdict that leads to the queue, or away from it.
func (w writer) nftRule(verdicts ...string) string {
	switch a := w.port(); w.IntN(9) {
	case 0:
		return fmt.Sprintf("udp dport vmap { %d : %s, %d : %s }", a, w.of(verdicts...), a^1, w.of(verdicts...))
	case 1:
		return fmt.Sprintf("udp dport vmap { %d : %s, %d : continue } %s", a, w.of(verdicts...), a^1, w.nftCondition())
	case 2:
		return fmt.Sprintf("numgen inc mod 3 vmap { 0 : %s, 1 : %s }", w.of(verdicts...), w.of(verdicts...))
	}
	return strings.Join([]string{w.nftCondition(), w.nftCondition(), w.of(verdicts...)}, " ")
}

func (w writer) nft() string {
	var b strings.Builder
	fmt.Fprintf(&b, `table inet t {
		set steady { type inet_service; flags interval; elements = { %s }; }
		set timed { type inet_service; flags timeout; elements = { %d }; }
		chain q { }
`, w.ports(", "), w.port())
	callees := []string{"jump q", "goto q"}
	for _, name := range []string{"inner", "middle"} {
		fmt.Fprintf(&b, "chain %s {\n", name)
		for range 1 + w.IntN(3) {
			fmt.Fprintln(&b, w.nftRule(append(callees, "return", "accept")...))
		}
		b.WriteString("}\n")
		callees = append(callees, "jump "+name, "goto "+name)
	}
	b.WriteString("chain output { type filter hook output priority 0;\n")
	for range 1 + w.IntN(3) {
		fmt.Fprintln(&b, w.nftRule(append(callees, "accept", "return")...))
	}
	fmt.Fprintln(&b, w.of("jump q", "jump middle", w.nftCondition()+" jump q"))
	b.WriteString("}\n}\n")
	return b.String()
}

// legacyRule is one of iptables.
func (w writer) legacyRule(chain string, targets ...string) string {
	first, last := w.portRange()
	not := w.of("", "! ")
	conditions := []string{
		"-p udp " + not + fmt.Sprintf("--dport %d", first),
		"-p udp " + not + fmt.Sprintf("--sport %d:%d", first, last),
		"-p udp " + fmt.Sprintf("--sport %d:65535 %s--dport %d", first, not, last),
		"-p udp -m multiport " + not + w.of("--dports ", "--sports ", "--ports ") + w.ports(","),
		not + "-p udp", not + "-p tcp",
		"-m conntrack " + not + "--ctstate " + w.of("NEW", "NEW,RELATED", "RELATED,ESTABLISHED"),
		not + "-s 127.0.0.1", "-m mark --mark 0", "", "! -s 0.0.0.0/0", "! -o +", "-m statistic --mode nth --every 2 --packet 0",
	}
	return fmt.Sprintf("-A %s %s %s", chain, w.of(conditions...), w.of(targets...))
}

func (w writer) legacy() string {
	lines := []string{"*mangle", ":OUTPUT ACCEPT", ":inner -", ":middle -", ":q -"}
	targets := []string{"-j ACCEPT", "-j RETURN", "-j q", "-g q", "-j MARK --set-mark 0", "-j CONNMARK --restore-mark"}
	for _, chain := range []string{"inner", "middle", "OUTPUT"} {
		for range 1 + w.IntN(3) {
			lines = append(lines, w.legacyRule(chain, targets...))
		}
		targets = append(targets, "-j "+chain, "-g "+chain)
	}
	return strings.Join(append(lines, "-A OUTPUT -j "+w.of("q", "middle"), "-A q -j NFQUEUE --queue-num 1", "COMMIT", ""), "\n")
}

// takes reports whether a UDP packet over IPv4 is among some.
func takes(packets []Selection, source, destination uint16) bool {
	in := func(p uint16) func(vocabulary.PortRange) bool {
		return func(r vocabulary.PortRange) bool { return r.First <= p && p <= r.Last }
	}
	return slices.ContainsFunc(packets, func(s Selection) bool {
		return slices.Contains(s.Families, IPv4) && s.Takes(unix.IPPROTO_UDP) &&
			(len(s.Ports) == 0 || slices.ContainsFunc(s.Ports, in(source)) || slices.ContainsFunc(s.Ports, in(destination)))
	})
}

// A loop sends packets between sockets bound to somePorts, one for each.
type loop []int

func newLoop(t *testing.T) loop {
	t.Helper()
	var l loop
	for _, p := range somePorts {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(s) })
		if err := unix.Bind(s, &unix.SockaddrInet4{Port: int(p), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		l = append(l, s)
	}
	return l
}

// arrives sends a packet, and looks for it so many times; one that is queued does not arrive, as nobody listens.
func (l loop) arrives(t *testing.T, from, to, looks int) bool {
	t.Helper()
	err := unix.Sendto(l[from], []byte("x"), 0, &unix.SockaddrInet4{Port: int(somePorts[to]), Addr: [4]byte{127, 0, 0, 1}})
	if err != nil && !errors.Is(err, unix.EPERM) {
		t.Fatal(err)
	}
	for range looks {
		if _, _, err := unix.Recvfrom(l[to], make([]byte, 9), unix.MSG_DONTWAIT); err == nil {
			return true
		}
		time.Sleep(100 * time.Microsecond)
	}
	return false
}

// accepted loads rules by nft, which refuses what contradicts itself.
func accepted(t *testing.T, rules string) bool {
	t.Helper()
	path, err := exec.LookPath("nft")
	if err != nil {
		t.Skipf("no nft on this machine: %v", err)
	}
	cmd := exec.Command(path, "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "conflict") {
		t.Logf("%s\n%s", out, rules)
	}
	return err == nil
}

// TestSelectionsLeaveNothingOut has the kernel decide which packets random rules
// queue.
func TestSelectionsLeaveNothingOut(t *testing.T) {
	const seeds = 60
	seed := uint64(time.Now().UnixNano())
	t.Logf("the first of %d seeds is %d", seeds, seed)
	queued, all := 0, 0
	for n := range uint64(seeds) {
		w := writer{rand.New(rand.NewPCG(seed+n, 0))}
		testkit.Namespace(t)
		commands(t, "ip link set lo up")
		rules := w.legacy()
		switch n % 3 {
		case 0:
			run(t, rules, "iptables-legacy-restore")
		case 1:
			rules = strings.ReplaceAll(rules, "! -s 0.0.0.0/0", "") // which it refuses
			run(t, rules, "iptables-nft-restore")
		case 2:
			if rules = w.nft(); !accepted(t, rules) {
				continue
			}
			addQueue(t, nftables.TableFamilyINet, "t", "q", 0, words(1))
		}
		var packets []Selection
		for _, q := range read(t).Queues {
			for _, r := range q.Reaches {
				packets = append(packets, r.Packets...)
			}
		}
		l := newLoop(t)
		for range 24 {
			from, to := w.IntN(len(l)), w.IntN(len(l))
			all++
			if l.arrives(t, from, to, 3) {
				continue
			}
			queued++
			if !takes(packets, somePorts[from], somePorts[to]) && !l.arrives(t, from, to, 1000) {
				t.Errorf("seed %d: from %d to %d is queued, and not in %v\n%s", seed+n, somePorts[from], somePorts[to], packets, rules)
			}
		}
	}
	if queued == 0 || queued == all {
		t.Errorf("%d of %d packets were queued: the rules say nothing", queued, all)
	}
}
