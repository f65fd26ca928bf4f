package attacks

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// The selftests are what was right and must stay, run by programs of other people.
// They take minutes, and so run only where VERDICTD_SELFTESTS is set: 1 for guard.mode hold, or the name of a mode.
// A program that is not installed is a failure, unless VERDICTD_OPTIONAL names it, in a list with commas.
const (
	selfVariable     = "VERDICTD_SELFTESTS"
	optionalVariable = "VERDICTD_OPTIONAL"
)

// selfTest begins a selftest, which needs some programs.
func selfTest(t *testing.T, programs ...string) *run {
	t.Helper()
	mode := os.Getenv(selfVariable)
	if mode == "" {
		t.Skipf("%s is not set: see make selftests", selfVariable)
	}
	testkit.Require(t)
	if mode == "1" {
		mode = "hold"
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if optional(p) {
			t.Skipf("%s is not installed, and is optional (%s)", p, optionalVariable)
		}
		t.Fatalf("%s is not installed: install it, or name it in %s", p, optionalVariable)
	}
	return &run{T: t, mode: mode}
}

func optional(program string) bool {
	return slices.Contains(strings.Split(os.Getenv(optionalVariable), ","), program)
}

// sub is a part of a selftest.
func (r *run) sub(name string, f func(r *run)) {
	r.Helper()
	r.Run(name, func(t *testing.T) { f(&run{T: t, mode: r.mode, guard: r.guard}) })
}

// finish stops the daemon and checks what is right of every selftest.
func (r *run) finish() childtest.Counts {
	r.Helper()
	s := r.child.Stop()
	n := clashes(r, r.ns) - r.clashes
	g, v := s.Gate.Total, s.Total
	r.Logf("%d clashes; verdicts %+v; gate %+v", n, v, g)
	if r.mode == "hold" && n != 0 {
		r.Errorf("%d clashes with the guard", n)
	}
	if v.QueueDropped+v.UserDropped+v.VerdictErrors+g.QueueDropped+g.UserDropped+g.VerdictErrors+g.Expired+g.Unguarded != 0 {
		r.Errorf("verdicts %+v, gate %+v: want nothing dropped, refused, expired or unguarded", v, g)
	}
	return s
}

// output runs a program in a namespace for a while at most, and returns what it prints.
func output(t testing.TB, ns *netlab.NetNS, bound time.Duration, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	var out []byte
	err := ns.Do(func() (err error) {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.WaitDelay = time.Second
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// startKnot serves example. at an address until the test ends.
func startKnot(t testing.TB, ns *netlab.NetNS, at netip.AddrPort) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	zone := write("example.zone", `$ORIGIN example.
$TTL 60
@ SOA ns hostmaster 1 60 60 60 60
@ NS ns
ns A 192.0.2.1
* A 192.0.2.9
* AAAA 2001:db8::9
`)
	conf := write("knot.conf", fmt.Sprintf(`server:
    rundir: %s
    listen: %s@%d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: %s
log:
  - target: stderr
    any: error
zone:
  - domain: example.
    storage: %s
    file: %s
`, dir, at.Addr(), at.Port(), dir, dir, zone))
	childtest.Start(t, ns, exec.Command("knotd", "-c", conf))
	for deadline := time.Now().Add(childtest.ReadyWithin); ; time.Sleep(50 * time.Millisecond) {
		var err error
		if e := ns.Do(func() error {
			question := new(dns.Msg).SetQuestion("ready.example.", dns.TypeA)
			_, err = dns.Exchange(question, at.String())
			return nil
		}); e != nil {
			t.Fatal(e)
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("knot does not answer: %v", err)
		}
	}
}

var (
	lostQueries = regexp.MustCompile(`Queries lost:\s+(\d+)`)
	doneQueries = regexp.MustCompile(`Queries completed:\s+(\d+)`)
)

// number is what a pattern finds in a text.
func number(t testing.TB, pattern *regexp.Regexp, text string) (n int) {
	t.Helper()
	m := pattern.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %s in %q", pattern, text)
	}
	if _, err := fmt.Sscan(m[1], &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// overflows is how many datagrams did not fit the receive buffers of programs in some namespaces, which do not read
// as fast as they come: nobody's loss but theirs.
func overflows(t testing.TB, namespaces ...*netlab.NetNS) (n int) {
	t.Helper()
	for _, ns := range namespaces {
		fields := strings.Fields(childtest.Shell(t, ns, "grep ^Udp: /proc/thread-self/net/snmp | tail -1"))
		const rcvbufErrors = 5
		var one int
		if _, err := fmt.Sscan(fields[rcvbufErrors], &one); err != nil {
			t.Fatal(err)
		}
		n += one
	}
	return n
}

// selfPlaces are where queues are in the selftests: the sender's end, a router, the receiver's end.
var selfPlaces = []string{"output", "postrouting", "forward", "input", "verdict3"}

// place makes a sender and a receiver with the daemon where a placement has its queue, with more of a configuration's
// rules.
func (r *run) place(placement, more, config string) (sender, receiver *netlab.NetNS, source, target netip.Addr) {
	r.Helper()
	rules := fmt.Sprintf("%s\nrules: {placement: %s, %s}", config, placement, more)
	switch placement {
	case "forward":
		h := routed(r, "ipv4")
		r.daemon(h.Queue, rules)
		return h.Sender, h.Receiver, h.Sources, h.Target
	case "input":
		h := twoHosts(r, "ipv4")
		r.daemon(h.Queue, rules)
		return h.Sender, h.Receiver, h.Sources, h.Target
	}
	near, far := twoEnds(r)
	r.daemon(near, rules)
	return near, far, nearEnd, farEnd
}

// room is for bursts of thousands of packets.
const room = "queues: {max_length: 65535, receive_buffer: 67108864}"

func TestSelfDNSPerf(t *testing.T) {
	selfTest(t, "dnsperf", "knotd").each(selfPlaces, func(r *run, placement string) {
		sender, receiver, _, target := r.place(placement, "destination_ports: [5300], source_ports: [5300]", room)
		startKnot(r, receiver, netip.AddrPortFrom(target, port))
		questions := filepath.Join(r.TempDir(), "questions")
		var b strings.Builder
		for i := range 10000 {
			fmt.Fprintf(&b, "n%d.example. A\nn%d.example. AAAA\n", i, i)
		}
		if err := os.WriteFile(questions, []byte(b.String()), 0o644); err != nil {
			r.Fatal(err)
		}
		for _, rate := range []int{1000, 10000, 50000} {
			before := overflows(r, sender, receiver)
			text := output(r, sender, 20*time.Second, "dnsperf", "-s", target.String(), "-p", fmt.Sprint(port), "-d", questions,
				"-Q", fmt.Sprint(rate), "-l", "2", "-c", "100", "-q", "200", "-t", "3")
			lost, done := number(r, lostQueries, text)-(overflows(r, sender, receiver)-before), number(r, doneQueries, text)
			r.Logf("%d queries/s: %d answered, %d lost", rate, done, lost)
			if lost > 0 || done < rate/4 {
				r.Errorf("%d queries/s: %d answered, %d lost", rate, done, lost)
			}
		}
		r.finish()
	})
}

// each is sub for some names.
func (r *run) each(names []string, f func(r *run, name string)) {
	r.Helper()
	for _, name := range names {
		r.sub(name, func(r *run) { f(r, name) })
	}
}

// iperfResult is what these tests need of iperf3 --json.
type iperfResult struct {
	End struct {
		Sum struct {
			LostPackets int     `json:"lost_packets"`
			Packets     int     `json:"packets"`
			Bits        float64 `json:"bits_per_second"`
		} `json:"sum"`
		Received struct {
			Bytes float64 `json:"bytes"`
			Bits  float64 `json:"bits_per_second"`
		} `json:"sum_received"`
	} `json:"end"`
	Error string `json:"error"`
}

func TestSelfIperf(t *testing.T) {
	selfTest(t, "iperf3").each(selfPlaces, func(r *run, placement string) {
		sender, receiver, _, target := r.place(placement, "protocols: [udp, tcp], destination_ports: [5201], source_ports: [5201]", room)
		childtest.Start(r, receiver, exec.Command("iperf3", "-s", "-p", "5201", "-B", target.String()))
		time.Sleep(200 * time.Millisecond)
		for _, args := range []string{"", "-u -b 50M -l 1400", "-u -b 100M -l 8000"} {
			for _, direction := range []string{"", "-R"} {
				line := strings.TrimSpace("iperf3 -J -t 1 -p 5201 -c " + target.String() + " " + args + " " + direction)
				var got iperfResult
				before := overflows(r, sender, receiver)
				text := output(r, sender, 15*time.Second, strings.Fields(line)...)
				if err := json.Unmarshal([]byte(text[max(0, strings.Index(text, "{")):]), &got); err != nil {
					r.Fatalf("%v: %s", err, text)
				}
				lost := got.End.Sum.LostPackets - (overflows(r, sender, receiver) - before)
				r.Logf("%s: %.0f Mbit/s, %d of %d lost", line, max(got.End.Sum.Bits, got.End.Received.Bits)/1e6, lost, got.End.Sum.Packets)
				if lost > 0 || args == "" && got.End.Received.Bytes < 1<<20 {
					r.Errorf("%s: %+v", line, got.End)
				}
			}
		}
		r.finish()
	})
}

// countDatagrams counts what comes of a length, until the test ends. With echo it goes back.
func countDatagrams(t testing.TB, ns *netlab.NetNS, at netip.AddrPort, bytes int, echo bool) *atomic.Int64 {
	t.Helper()
	var conn *net.UDPConn
	if err := ns.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	n := new(atomic.Int64)
	go func() {
		for b := make([]byte, 1<<16); ; {
			got, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if got == bytes || bytes == 0 {
				n.Add(1)
			}
			if echo {
				_, _ = conn.WriteToUDPAddrPort(b[:got], from)
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close() })
	return n
}

func TestSelfFragments(t *testing.T) {
	selfTest(t, "hping3").each([]string{"output", "forward", "input"}, func(r *run, placement string) {
		sender, receiver, _, target := r.place(placement, "destination_ports: [5300]", "")
		n := countDatagrams(r, receiver, netip.AddrPortFrom(target, port), 4000, false)
		output(r, sender, 10*time.Second, "sh", "-c",
			fmt.Sprintf("hping3 -q -2 -p %d -d 4000 -m 576 -c 50 -i u5000 %s || true", port, target)) // as nothing answers
		time.Sleep(300 * time.Millisecond)
		if n.Load() != 50 {
			r.Errorf("%d of 50 datagrams came whole", n.Load())
		}
		r.finish()
	})
}

func TestSelfPingFlood(t *testing.T) {
	selfTest(t, "ping").each(selfPlaces, func(r *run, placement string) {
		sender, _, _, target := r.place(placement, "protocols: [icmp]", "")
		for args, want := range map[string]int{"-q -f -c 2000 -w 5 ": 2000, "-q -f -l 50 -c 2000 -w 5 ": 2000, "-q -f -s 8000 -c 500 -w 5 ": 500} {
			// It ends with as many answers as requests were asked for, while others may be on their way.
			sent, answered, twice := ping(r, sender, args+target.String())
			r.Logf("ping %s: %d sent, %d answered", args, sent, answered)
			if answered < want && r.mode == "hold" || twice != 0 {
				r.Errorf("ping %s: %d sent, %d answered, %d twice", args, sent, answered, twice)
			}
		}
		r.finish()
	})
}

func TestSelfTraceroute(t *testing.T) {
	r := selfTest(t, "traceroute", "mtr")
	h := routed(r, "ipv4")
	childtest.Shell(r, h.Queue, "sysctl -qw net.ipv4.icmp_ratelimit=0")
	childtest.Shell(r, h.Receiver, "sysctl -qw net.ipv4.icmp_ratelimit=0")
	r.daemon(h.Queue, "rules: {placement: forward, protocols: [udp, icmp]}")
	for _, way := range []string{"-U", "-I", ""} {
		text := output(r, h.Sender, 20*time.Second, strings.Fields("traceroute -n -w 1 -q 3 -m 4 "+way+" "+h.Target.String())...)
		if !strings.Contains(text, h.SenderGateway.String()) || strings.Count(text, h.Target.String()) != 3 || r.mode == "hold" && strings.Contains(text, "*") {
			r.Errorf("traceroute %s:\n%s", way, text)
		}
	}
	for _, way := range []string{"", "--udp"} {
		text := output(r, h.Sender, 20*time.Second, strings.Fields("mtr -n -r -c 5 -i 0.1 "+way+" "+h.Target.String())...)
		if strings.Count(text, " 0.0%") != 2 {
			r.Errorf("mtr %s:\n%s", way, text)
		}
	}
	r.finish()
}
