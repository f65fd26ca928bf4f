package language

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// egress has the example of a build machine's way out judge a namespace in which its resolver,
// and whatever is looked for behind any name, answer.
func egress(t *testing.T) (*daemon, *netlab.NetNS) {
	t.Helper()
	ns := testkit.Namespace(t)
	resolver := netip.MustParsePrefix("192.0.2.53/32")
	if err := ns.AddAddress("lo", resolver); err != nil {
		t.Fatal(err)
	}
	secure(t)
	server(t, 80, func(c net.Conn) {
		b := make([]byte, 4096)
		if _, err := c.Read(b); err == nil {
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"))
		}
	})
	socket, err := net.ListenPacket("udp4", netip.AddrPortFrom(resolver.Addr(), 53).String())
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: socket, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		a.Answer = append(a.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1),
		})
		_ = w.WriteMsg(a)
	})}
	go s.ActivateAndServe()                //nolint:errcheck // ends with the test
	t.Cleanup(func() { _ = s.Shutdown() }) // and its socket
	text, err := os.ReadFile("../../../configs/policies/egress-allow-list.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := prepared(t)
	d.writeWhole(string(text))
	d.run(ns)
	return d, ns
}

// refusedWithin is how soon who is refused knows it: a reset or an ICMP error, and not a time-out.
const refusedWithin = 5 * time.Second

// TestEgress: what the list allows works with real clients; what it does not is refused at once, and the log says why.
func TestEgress(t *testing.T) {
	d, _ := egress(t)
	for name, allowed := range map[string]bool{"proxy.example.org.": true, "sum.example.org.": true, "exfiltrated.example.": false} {
		begun := time.Now()
		c := &dns.Client{Timeout: patience}
		answer, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), "192.0.2.53:53")
		if allowed != (err == nil && len(answer.Answer) == 1) {
			t.Errorf("question for %s: %v", name, err)
		}
		if !allowed && (!errors.Is(err, syscall.ECONNREFUSED) || time.Since(begun) > refusedWithin) {
			t.Errorf("question for %s: %v after %v, want it to be refused at once", name, err, time.Since(begun))
		}
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl")
	}
	for url, allowed := range map[string]bool{
		"https://proxy.example.org/": true, "http://eu.mirror.example.net/": true,
		"https://example.com/": false, "http://example.com/": false,
	} {
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		out, err := exec.CommandContext(ctx, "curl", "-sSk", "--connect-to", "::127.0.0.1:", url).CombinedOutput()
		cancel()
		if allowed != (err == nil) || allowed && !strings.HasSuffix(string(out), "hello") {
			t.Errorf("%s: %v: %s", url, err, out)
		}
		if !allowed && (time.Since(begun) > refusedWithin || !strings.Contains(string(out), "reset")) {
			t.Errorf("%s: after %v: %s, want a reset at once", url, time.Since(begun), out)
		}
	}
	await(t, "the log tells what was refused", func() bool {
		log := d.Log()
		return strings.Contains(log, "exfiltrated.example") && strings.Contains(log, "name=example.com") &&
			strings.Contains(log, "action=reject")
	})
	d.Stop()
}

// TestSelfBrowser: the same with a browser, QUIC on.
func TestSelfBrowser(t *testing.T) {
	if os.Getenv("VERDICTD_SELFTESTS") == "" {
		t.Skip("VERDICTD_SELFTESTS is not set: see make selftests")
	}
	d, _ := egress(t)
	for url, allowed := range map[string]bool{"https://proxy.example.org/": true, "https://example.com/": false} {
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		out, err := exec.CommandContext(ctx, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
			"--ignore-certificate-errors", "--enable-quic", "--origin-to-force-quic-on=example.com:443",
			"--host-resolver-rules=MAP * 127.0.0.1", "--user-data-dir="+t.TempDir(), url).Output()
		cancel()
		t.Logf("%s: %v after %v", url, err, time.Since(begun))
		if got := strings.Contains(string(out), "hello"); got != allowed {
			t.Errorf("%s: %v: %.2000s", url, err, out)
		}
	}
	d.Stop()
}
