package language

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"verdictd/internal/testkit"
)

// resolver answers every question, over UDP and TCP, until the test ends.
func resolver(t *testing.T) {
	t.Helper()
	packets, err := net.ListenPacket("udp4", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp4", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetReply(q)) })
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: answer}, {Listener: streams, Handler: answer}} {
		go func() { _ = s.ActivateAndServe() }()
	}
	t.Cleanup(func() { _, _ = packets.Close(), streams.Close() })
}

// resolves asks on a connection of the test's namespace.
func resolves(t *testing.T, network, name string, kind uint16, within time.Duration) bool {
	t.Helper()
	c := &dns.Conn{Conn: dial(t, network, 53)}
	defer c.Close()
	client := dns.Client{Net: network, Timeout: within}
	answer, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, kind), c)
	return err == nil && answer.Rcode == dns.RcodeSuccess
}

const (
	patience   = 20 * time.Second // with what must come
	impatience = 300 * time.Millisecond
)

// TestDNS: names of rules and of sets, and types, over UDP and TCP; what is dropped is
// counted for its rule and set, and logged with its name.
func TestDNS(t *testing.T) {
	ns := testkit.Namespace(t)
	resolver(t)
	d := start(t, ns, `
policy:
  sets: [{name: blocked, type: names, entries: [Ads.Example, =only.example]}]
  rules:
    - {name: names, dns: {names: ["*.bad.example", "@blocked"]}, action: drop, log: 10}
    - {name: types, dns: {types: [HTTPS]}, action: drop}
`)
	for _, network := range []string{"udp4", "tcp4"} {
		for _, name := range []string{"example.org.", "bad.example.", "www.only.example.", "notads.example.", "."} {
			if !resolves(t, network, name, dns.TypeA, patience) {
				t.Errorf("%s: %s is blocked", network, name)
			}
		}
		for _, name := range []string{"ads.example.", "www.AdS.example.", "x.bad.example.", "only.example."} {
			if resolves(t, network, name, dns.TypeA, impatience) {
				t.Errorf("%s: %s is answered", network, name)
			}
		}
		if resolves(t, network, "example.org.", dns.TypeHTTPS, impatience) {
			t.Errorf("%s: a type that is dropped is answered", network)
		}
	}
	if n, hits := d.packets("names"), d.set("blocked").Hits; n < 8 || hits < 6 || hits > n {
		t.Errorf("%d packets dropped by name, %d of them by the set", n, hits)
	}
	await(t, "the log", func() bool { return slices.Contains(logged(d, "rule"), "x.bad.example") })
	d.Stop()
}
