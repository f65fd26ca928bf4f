package language

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
)

// quicFlows are datagrams of quic-go, by the name that they are for.
func quicFlows(t *testing.T) map[string][][]byte {
	t.Helper()
	text, err := os.ReadFile("../names/quic/testdata/initials.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		ServerName string   `json:"server_name"`
		Datagrams  []string `json:"datagrams"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	flows := map[string][][]byte{}
	for _, a := range list {
		for _, d := range a.Datagrams {
			b, err := hex.DecodeString(d)
			if err != nil {
				t.Fatal(err)
			}
			flows[a.ServerName] = append(flows[a.ServerName], b)
		}
	}
	return flows
}

// listen receives UDP at a port.
func listen(t *testing.T, port uint16) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// received counts what comes until so much is there, or nothing for a while.
func received(t *testing.T, c *net.UDPConn, want int, quiet time.Duration) (n int) {
	t.Helper()
	b := make([]byte, 4096)
	for ; n < want; n++ {
		if err := c.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(b); errors.Is(err, os.ErrDeadlineExceeded) {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestQUIC: hellos in one and in several Initial packets, of versions 1 and 2, that go on or
// wait until the name is known. The guard holds further packets of a flow, and lets those
// go that a name needs.
func TestQUIC(t *testing.T) {
	for _, pending := range []string{"accept", "hold"} {
		t.Run(pending, func(t *testing.T) {
			ns := testkit.Namespace(t)
			in := listen(t, 443)
			d := start(t, ns, fmt.Sprintf(`
policy: {rules: [{name: blocked, quic: {names: [one.example.org, two.example.org, small.example.org]}, action: drop, pending: %s}]}
`, pending))
			for name, datagrams := range quicFlows(t) {
				blocked := strings.HasPrefix(name, "one.") || strings.HasPrefix(name, "two.") || strings.HasPrefix(name, "small.")
				before := d.packets("blocked")
				c := dial(t, "udp4", 443)
				for _, b := range datagrams {
					if _, err := c.Write(b); err != nil {
						t.Fatal(err)
					}
				}
				if !blocked {
					if n := received(t, in, len(datagrams), 10*time.Second); n != len(datagrams) {
						t.Errorf("%q: %d of %d datagrams came", name, n, len(datagrams))
					}
					continue
				}
				await(t, "the drop of "+name, func() bool { return d.packets("blocked") > before })
				n := received(t, in, len(datagrams), impatience)
				if most := map[string]int{"accept": 1, "hold": 0}[pending]; n > most {
					t.Errorf("%q: %d datagrams came, want %d at most", name, n, most)
				}
			}
			d.Stop()
		})
	}
}

// TestQUICWhileStopped: the daemon stands still for longer than names may take, and a flow's second datagram comes in
// that time. It waits in the gate, behind the first one, so that the policy's queue is empty when the daemon goes on.
func TestQUICWhileStopped(t *testing.T) {
	ns := testkit.Namespace(t)
	in := listen(t, 443)
	d := start(t, ns, `
policy: {names: {time: 1s}, rules: [{name: blocked, quic: {names: [one.example.org, two.example.org]}, action: drop, pending: hold}]}
`)
	for name, datagrams := range quicFlows(t) {
		if len(datagrams) < 2 || !strings.HasPrefix(name, "one.") && !strings.HasPrefix(name, "two.") {
			continue
		}
		before := d.statistics().Total.Held
		c := dial(t, "udp4", 443)
		if _, err := c.Write(datagrams[0]); err != nil {
			t.Fatal(err)
		}
		await(t, "a held packet of "+name, func() bool { return d.statistics().Total.Held > before })
		d.Signal(unix.SIGSTOP)
		for _, b := range datagrams[1:] {
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(1500 * time.Millisecond)
		d.Signal(unix.SIGCONT)
		if n := received(t, in, len(datagrams), impatience); n != 0 {
			t.Errorf("%q: %d datagrams came, want none: %d were given up", name, n, d.statistics().Total.HeldOver)
		}
	}
	d.Stop()
}

// million is a list of so many names.
func million(n int, more ...string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "host-%d.blocked.example\n", i)
	}
	for _, name := range more {
		fmt.Fprintln(&b, name)
	}
	return b.String()
}

// TestMillionNamesReplacedUnderLoad: a set's file is replaced while packets come, and none
// is lost; a broken one changes nothing.
func TestMillionNamesReplacedUnderLoad(t *testing.T) {
	const names = 1_000_000
	ns := testkit.Namespace(t)
	in := listen(t, 53)
	d := start(t, ns, "")
	d.replace("names", million(names, "first.example"))
	d.write(fmt.Sprintf(`
policy:
  sets: [{name: blocked, type: names, file: %q}]
  rules: [{name: blocked, dns: {names: ["@blocked"]}, action: drop}]
`, d.dir+"/names"))
	answer, err := d.client.Reload(t.Context())
	if err != nil || answer.Result != "done" {
		t.Fatalf("%+v, %v", answer, err)
	}
	t.Logf("the reload with %d names took %.1f s", names, answer.Seconds)
	out := dial(t, "udp4", 53)
	ask := func(name string) {
		t.Helper()
		if _, err := out.Write(question(name)); err != nil {
			t.Fatal(err)
		}
	}
	ask("first.example")
	ask("www.host-999999.blocked.example")
	await(t, "the drops", func() bool { return d.packets("blocked") == 2 })

	// Each question that is let pass is answered by its coming; the next one follows then.
	sent := 0
	load := func(until func() bool) {
		t.Helper()
		for end := time.Now().Add(60 * time.Second); !until() && time.Now().Before(end); {
			for range 20 {
				ask("example.org")
			}
			if n := received(t, in, 20, 10*time.Second); n != 20 {
				t.Fatalf("%d of 20 questions came after %d", n, sent)
			}
			sent += 20
		}
	}
	d.replace("names", million(names, "second.example"))
	load(func() bool { return d.set("blocked").Loads == 2 })
	d.replace("names", million(10, "http://third.example/"))
	load(func() bool { return d.set("blocked").Errors == 1 })
	ask("second.example")
	await(t, "the drop by the new set", func() bool { return d.packets("blocked") == 3 })
	s, total := d.set("blocked"), d.statistics().Total
	if s.Entries != names+1 || s.Hits != 3 || s.Failed != 1 || !strings.Contains(s.Error, "names:11") || total.QueueDropped+total.UserDropped != 0 {
		t.Errorf("%+v, %+v", s, total.KernelDrops)
	}
	t.Logf("%d questions passed meanwhile", sent)
	d.Stop()
}

// question is a DNS query.
func question(name string) []byte {
	b := []byte{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0, 0, 1, 0, 1)
}
