package dns

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/internal/traffic"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var (
	server4 = netip.MustParseAddr("192.0.2.1")
	server6 = netip.MustParseAddr("2001:db8::1")
)

// place is a namespace with addresses of both families, and a configuration for it.
func place(t *testing.T) (Config, *netlab.NetNS) {
	t.Helper()
	ns := testkit.Namespace(t)
	for _, a := range []netip.Addr{server4, server6} {
		if err := ns.AddAddress("lo", netip.PrefixFrom(a, a.BitLen())); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Default()
	cfg.Target, cfg.SenderNetns, cfg.ReceiverNetns = server4, ns.Path(), ns.Path()
	cfg.Resolutions, cfg.Parallel = 60, 12
	return cfg, ns
}

// The built-in client asks each question once, where nothing is lost.
func TestBuiltin(t *testing.T) {
	cfg, _ := place(t)
	for _, target := range []netip.Addr{server4, server6} {
		for _, queries := range []Queries{Parallel, SingleRequest, SingleRequestReopen, Separate} {
			cfg.Target, cfg.Queries = target, queries
			calls := 0
			res, err := Run(t.Context(), cfg, func(int) { calls++ })
			if err != nil {
				t.Fatal(err)
			}
			want, oneFlow := uint64(cfg.Resolutions), uint64(cfg.Resolutions)
			if queries == SingleRequestReopen || queries == Separate {
				oneFlow = 0
			}
			if res.Resolutions != want || res.Resolved != want || res.Retried+res.Failed+res.WrongAnswers != 0 ||
				calls != cfg.Resolutions ||
				*res.Sent != (Sent{A: want, AAAA: want}) || res.Served != (Served{A: want, AAAA: want, OneFlow: oneFlow}) ||
				len(res.SocketErrors) != 0 {
				t.Errorf("%v, %s: %+v, sent %+v", target, queries, res, res.Sent)
			}
			if d := res.Time; d.P50 <= 0 || d.P90 < d.P50 || d.P99 < d.P90 || d.Max < d.P99 ||
				d.Max >= 1000*cfg.AttemptTimeout.Seconds() {
				t.Errorf("%v, %s: %+v", target, queries, d)
			}
		}
	}
}

// What a rule drops is asked again, and takes the time that the client waits.
func TestBuiltinAsksAgain(t *testing.T) {
	for _, queries := range []Queries{Parallel, SingleRequest, SingleRequestReopen, Separate} {
		cfg, ns := place(t)
		filter, err := ns.DropAtRandom(netlab.HookInput, dnsPort, 3)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Queries, cfg.AttemptTimeout, cfg.Attempts = queries, 300*time.Millisecond, 5
		res, err := Run(t.Context(), cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		dropped, err := filter.Dropped()
		if err != nil {
			t.Fatal(err)
		}
		sent, served := res.Sent.A+res.Sent.AAAA, res.Served.A+res.Served.AAAA
		if dropped == 0 || sent-served != dropped {
			t.Errorf("%s: %d of %d questions did not arrive, and the rule dropped %d", queries, sent-served, sent, dropped)
		}
		if res.Retried == 0 || res.Sent.Repeated < res.Retried || res.Time.Max < 290 || res.Resolved+
			res.Failed != uint64(cfg.Resolutions) {
			t.Errorf("%s: %+v, sent %+v", queries, res, res.Sent)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	cfg, ns := place(t)
	if _, err := ns.DropAtRandom(netlab.HookInput, dnsPort, 1); err != nil {
		t.Fatal(err)
	}
	cfg.AttemptTimeout = 50 * time.Millisecond
	res, err := Run(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := uint64(cfg.Resolutions); res.Failed != n || res.Retried != n || res.Resolved != 0 ||
		res.Time != (Distribution{}) || res.Sent.Repeated != 2*n {
		t.Errorf("%+v, sent %+v", res, res.Sent)
	}
	cfg.AttemptTimeout, cfg.Timeout = 5*time.Second, 200*time.Millisecond
	res, err = Run(t.Context(), cfg, nil)
	if !errors.Is(err, ErrTimedOut) || !res.TimedOut || res.Interrupted || res.Resolutions != 0 {
		t.Errorf("%+v, %v; want a timeout", res, err)
	}
	cfg.Timeout = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	res, err = Run(ctx, cfg, nil)
	if !errors.Is(err, traffic.ErrInterrupted) || !res.Interrupted || res.TimedOut || res.Resolutions != 0 {
		t.Errorf("%+v, %v; want an interruption", res, err)
	}
}

// The system's resolver sees our files, and nobody else does.
func TestGetaddrinfo(t *testing.T) {
	cfg, _ := place(t)
	cfg.Client, cfg.Resolutions = Getaddrinfo, 24
	t.Setenv("TMPDIR", t.TempDir())
	before := systemFiles(t)
	for _, target := range []netip.Addr{server4, server6} {
		cfg.Target = target
		res, err := Run(t.Context(), cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := uint64(cfg.Resolutions)
		if res.Resolved != want || res.Retried+res.Failed+res.WrongAnswers != 0 ||
			res.Served != (Served{A: want, AAAA: want, OneFlow: want}) || res.Sent != nil || res.Warning() != "" {
			t.Errorf("%v: %+v", target, res)
		}
	}
	if after := systemFiles(t); after != before {
		t.Errorf("the system's files were\n%s\nand are\n%s", before, after)
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		t.Errorf("%s is left", e.Name())
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), "stress-dns-") {
		t.Errorf("%v; mounts that others see: %s", err, mounts)
	}
}

func systemFiles(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{"/etc/resolv.conf", "/etc/nsswitch.conf"} {
		b, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

func TestGetaddrinfoAsksAgain(t *testing.T) {
	cfg, ns := place(t)
	if _, err := ns.DropAtRandom(netlab.HookInput, dnsPort, 4); err != nil {
		t.Fatal(err)
	}
	cfg.Client, cfg.Resolutions, cfg.Parallel, cfg.AttemptTimeout = Getaddrinfo, 24, 24, time.Second
	res, err := Run(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Retried == 0 || res.Retried == uint64(cfg.Resolutions) || res.Resolved == 0 || res.Time.Max < 900 {
		t.Errorf("%+v, want that some have asked again after a second", res)
	}
}

// Where a family has no address, getaddrinfo does not ask for it: the figures would look fine, or all wrong.
func TestGetaddrinfoOfOneFamily(t *testing.T) {
	ns := testkit.Namespace(t)
	if err := ns.AddAddress("lo", netip.PrefixFrom(server4, 32)); err != nil {
		t.Fatal(err)
	}
	cfg := Default()
	cfg.Target, cfg.SenderNetns, cfg.ReceiverNetns, cfg.Client, cfg.Resolutions = server4, ns.Path(), ns.Path(),
		Getaddrinfo, 3
	res, err := Run(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if w := res.Warning(); !strings.Contains(w, "no IPv6 address") || res.Failed != 3 {
		t.Errorf("%q of %+v", w, res)
	}
}

func TestNoGetent(t *testing.T) {
	cfg, _ := place(t)
	cfg.Client = Getaddrinfo
	t.Setenv("PATH", t.TempDir())
	if _, err := Run(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), "libc-bin") {
		t.Errorf("%v, want what to install", err)
	}
}

func TestNoMountNamespace(t *testing.T) {
	testkit.Require(t)
	cfg := Default()
	d, err := newDisguise(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	}()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: capabilities are the thread's
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			result <- err
			return
		}
		result <- d.putOn()
	}()
	if err := <-result; err == nil || !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "mount namespace") ||
		!strings.Contains(err.Error(), "run as root") {
		t.Errorf("%v, want why and what to do", err)
	}
}

// The server tells strangers that there is no such name, and counts them.
func TestServer(t *testing.T) {
	testkit.Namespace(t)
	cfg := Default()
	cfg.Resolutions = 2
	n := naming{7}
	s, err := startServer(&cfg, n)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(name string, kind uint16) *dns.Msg {
		c := dns.Client{Timeout: 5 * time.Second}
		conn, err := net.Dial("udp", cfg.server().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		m, _, err := c.ExchangeWithConn(new(dns.Msg).SetQuestion(name, kind), &dns.Conn{Conn: conn})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := ask(n.name(1), dns.TypeA); len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "203.0.113.2" {
		t.Errorf("%v", m)
	}
	if m := ask(strings.ToUpper(n.name(1)), dns.TypeAAAA); len(m.Answer) != 1 ||
		m.Answer[0].(*dns.AAAA).AAAA.String() != "2001:db8:d::1" {
		t.Errorf("%v", m)
	}
	for name, kind := range map[string]uint16{n.name(2): dns.TypeA, (naming{8}).name(1): dns.TypeA,
		"example.": dns.TypeA} {
		if m := ask(name, kind); m.Rcode != dns.RcodeNameError || len(m.Answer) != 0 {
			t.Errorf("%s: %v", name, m)
		}
	}
	if m := ask(n.name(0), dns.TypeMX); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 0 {
		t.Errorf("%v", m)
	}
	ask(n.name(1), dns.TypeA)
	if got, want := s.total(), (Served{A: 2, AAAA: 1, Repeated: 1, Foreign: 4}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, err := startServer(&cfg, n); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second server: %v", err)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	n := naming{0xabcdef}
	for _, i := range []int{0, 1, 999_999} {
		if got, ok := n.index(n.name(i)); !ok || got != i {
			t.Errorf("%s is of %d", n.name(i), got)
		}
	}
	for _, name := range []string{"", ".", "r01.00abcdef.stress.example.", "r-1.00abcdef.stress.example.",
		"x1.00abcdef.stress.example.", "r1.00abcdee.stress.example."} {
		if i, ok := n.index(name); ok {
			t.Errorf("%q is of %d", name, i)
		}
	}
}

func TestAnswersAreVerified(t *testing.T) {
	q := &question{kind: dns.TypeA, want: netip.MustParseAddr("203.0.113.5")}
	record := func(text string) dns.RR {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		return rr
	}
	for text, want := range map[string]bool{"a. A 203.0.113.5": true, "a. A 203.0.113.6": false,
		"a. AAAA 2001:db8::5": false, "a. MX 1 b.": false} {
		if got := answers(&dns.Msg{Answer: []dns.RR{record(text)}}, q); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if answers(&dns.Msg{}, q) || answers(&dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure},
		Answer: []dns.RR{record("a. A 203.0.113.5")}}, q) {
		t.Error("no answer is one")
	}
	for output, want := range map[string][2]bool{
		"203.0.113.6 STREAM r5\n203.0.113.6 DGRAM\n2001:db8:d::5 STREAM\n": {true, false},
		"203.0.113.6 STREAM r5\n":                       {false, false},
		"203.0.113.7 STREAM r5\n2001:db8:d::5 STREAM\n": {false, true},
		"nonsense\n": {false, true},
		"":           {false, false},
	} {
		if ok, wrong := verify(output, 5); ok != want[0] || wrong != want[1] {
			t.Errorf("%q: ok %v, wrong %v", output, ok, wrong)
		}
	}
}

func TestValidate(t *testing.T) {
	cfg := Config{Target: netip.MustParseAddr("8.8.8.8"), Client: Getaddrinfo, AttemptTimeout: 1500 * time.Millisecond}
	_, err := Run(t.Context(), cfg, nil)
	for _, want := range []string{"8.8.8.8", "port 0: want", "resolutions 0", "parallel 0", `queries ""`, "whole seconds",
		"attempts 0", "timeout 0s", "no word for a port"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q among the problems", err, want)
		}
	}
	cfg.Client = "nslookup"
	if err := cfg.Validate(); !strings.Contains(err.Error(), `client "nslookup"`) {
		t.Error(err)
	}
	cfg = Default()
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

func TestConfigSurvivesJSON(t *testing.T) {
	cfg := Default()
	b, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var got Config
	if err := json.Unmarshal(b, &got); err != nil || got != cfg {
		t.Errorf("%+v from %s (%v), want %+v", got, b, err, cfg)
	}
	if err := json.Unmarshal([]byte(`{"attempt_timeout":"long","timeout":"1s"}`), &got); err == nil {
		t.Error("a duration that is none")
	}
}
