package attacks

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
)

// TestResolversBehindMasquerade: a container asks for A and AAAA at once, through a host that masquerades and publishes
// a port. A name takes a moment: what is lost shows as a resolver's seconds.
func TestResolversBehindMasquerade(t *testing.T) {
	const names = 20
	for _, place := range []string{"forward", "postrouting"} {
		for resolver, resolve := range map[string]func(testing.TB, *netlab.NetNS, int) int{
			"glibc": resolveGlibc, "one socket": resolveBoth,
		} {
			t.Run(resolver+" "+place, func(t *testing.T) {
				sideBySide(t, scenario{arrive: names, clashes: names / 4, confirmed: true, play: func(r *run) outcome {
					container, host := containerHost(r)
					r.daemon(host, analysis+"rules: {placement: "+place+", destination_ports: [53], source_ports: [53]}")
					began := time.Now()
					answered := resolve(r, container, names)
					took := time.Since(began)
					o := r.end(&sink{}, 0)
					o.arrived = answered
					// glibc waits five seconds before it asks once more, others less.
					if o.figures["seconds"] = took.Seconds(); took > 4*time.Second {
						r.Errorf("%d names took %v", names, took)
					}
					return o
				}})
			})
		}
	}
}

// containerHost is a container, the host that it is on, and a name server beyond.
func containerHost(t testing.TB) (container, host *netlab.NetNS) {
	t.Helper()
	container, host, server := emptyHost(t), emptyHost(t), emptyHost(t)
	cable(t, container, "eth0", "203.0.113.2/24", host, "veth0", "")
	cable(t, host, "eth0", "192.0.2.1/24", server, "eth0", "192.0.2.53/24")
	mustNot(t, host.EnableForwarding())
	childtest.Shell(t, host, `
		ip link add docker0 type bridge forward_delay 0
		ip link set veth0 master docker0
		ip address add 203.0.113.1/24 dev docker0
		ip link set docker0 up
		iptables -t nat -A POSTROUTING -s 203.0.113.0/24 ! -o docker0 -j MASQUERADE
		iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 203.0.113.2:80`)
	childtest.Shell(t, container, "ip route add default via 203.0.113.1; ping -c 1 -W 5 192.0.2.53")
	var conn net.PacketConn
	mustNot(t, server.Do(func() (err error) {
		conn, err = net.ListenPacket("udp", nameServer.String())
		return err
	}))
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(answerName)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.ActivateAndServe() // ends with the connection
	}()
	t.Cleanup(func() { _ = conn.Close(); <-ended })
	return container, host
}

var nameServer = netip.MustParseAddrPort("192.0.2.53:53")

// answerName has an address of either family for every name.
func answerName(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	name := q.Question[0].Name
	switch header := (dns.RR_Header{Name: name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 1}); header.Rrtype {
	case dns.TypeA:
		m.Answer = append(m.Answer, &dns.A{Hdr: header, A: net.IPv4(192, 0, 2, 77)})
	case dns.TypeAAAA:
		m.Answer = append(m.Answer, &dns.AAAA{Hdr: header, AAAA: net.ParseIP("2001:db8::77")})
	}
	_ = w.WriteMsg(m) // a lost answer shows
}

// resolveGlibc asks the C library, in a mount namespace with a configuration of its own.
func resolveGlibc(t testing.TB, ns *netlab.NetNS, names int) int {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"resolv.conf": fmt.Sprintf("nameserver %v\n", nameServer.Addr()), "nsswitch.conf": "hosts: dns\n",
	} {
		mustNot(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	childtest.Shell(t, ns, fmt.Sprintf(`
		exec unshare -m sh -euc '
			for f in resolv.conf nsswitch.conf; do mount --bind %s/$f /etc/$f; done
			i=0
			while [ $i -lt %d ]; do
				i=$((i + 1))
				getent ahosts name$i.example.test | grep -q 2001:db8::77
			done'`, dir, names))
	return names
}

// resolveBoth asks for both families from one socket at once, as musl does, and waits for both.
func resolveBoth(t testing.TB, ns *netlab.NetNS, names int) (answered int) {
	t.Helper()
	for i := range names {
		if askBoth(t, ns, fmt.Sprintf("name%d.example.test.", i)) {
			answered++
		}
	}
	return answered
}

func askBoth(t testing.TB, ns *netlab.NetNS, name string) bool {
	t.Helper()
	conn := dial(t, ns, netip.AddrPort{}, nameServer, nil)
	defer func() { _ = conn.Close() }()
	mustNot(t, conn.SetDeadline(time.Now().Add(2500*time.Millisecond)))
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		b, err := new(dns.Msg).SetQuestion(name, kind).Pack()
		mustNot(t, err)
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 1500)
	for range 2 {
		if _, err := conn.Read(buf); err != nil {
			t.Logf("%s: %v", name, err)
			return false
		}
	}
	return true
}
