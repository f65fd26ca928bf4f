package ruleset

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// Which packets are queued, by what the configuration selects.
func TestSelection(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		ipv6   bool
		port   uint16 // the server's; 0: any
		queued bool
	}{
		{name: "all UDP, IPv4", queued: true},
		{name: "all UDP, IPv6", ipv6: true, queued: true},
		{name: "IPv4 only, IPv4", change: func(c *Config) { c.IPv6 = false }, queued: true},
		{name: "IPv4 only, IPv6", change: func(c *Config) { c.IPv6 = false }, ipv6: true},
		{name: "IPv6 only, IPv4", change: func(c *Config) { c.IPv4 = false }},
		{name: "IPv6 only, IPv6", change: func(c *Config) { c.IPv4 = false }, ipv6: true, queued: true},
		{name: "all protocols", change: func(c *Config) { c.Protocols = nil }, queued: true},
		{name: "another protocol", change: func(c *Config) { c.Protocols = []uint8{unix.IPPROTO_TCP} }},
		{name: "one of two protocols", change: func(c *Config) { c.Protocols = []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_TCP} }, queued: true},
		{name: "destination port", change: func(c *Config) { c.DestinationPorts = []uint16{53, 5353, 53} }, port: 5353, queued: true},
		{name: "destination port, IPv6", change: func(c *Config) { c.DestinationPorts = []uint16{53} }, ipv6: true, port: 53, queued: true},
		{name: "another destination port", change: func(c *Config) { c.DestinationPorts = []uint16{53, 5353} }, port: 5354},
		{name: "source port is no destination port", change: func(c *Config) { c.SourcePorts = []uint16{53} }, port: 53},
		{name: "either list", change: func(c *Config) { c.SourcePorts, c.DestinationPorts = []uint16{1}, []uint16{53} }, port: 53, queued: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			c := udpRules(vocabulary.PlacementOutput, vocabulary.FanoutBalance, 1)
			if test.change != nil {
				test.change(&c)
			}
			l := listen(t, c, nil)
			install(t, c)
			_, _, loopback := ends(test.ipv6)
			open(t, ns, ns, netip.AddrPortFrom(loopback, test.port)).deliver()
			if got := len(l.take()) == 1; got != test.queued {
				t.Errorf("queued is %v, want %v", got, test.queued)
			}
		})
	}
}

// A source port is matched on the way back.
func TestSelectionBySourcePort(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		ns := testkit.Namespace(t)
		c := udpRules(vocabulary.PlacementOutput, vocabulary.FanoutBalance, 1)
		c.SourcePorts = []uint16{53}
		l := listen(t, c, nil)
		install(t, c)
		_, _, loopback := ends(ipv6)
		f := open(t, ns, ns, netip.AddrPortFrom(loopback, 53))
		f.deliver()
		if n := len(l.take()); n != 0 {
			t.Errorf("%d packets queued on the way to port 53", n)
		}
		f.answer()
		if n := len(l.take()); n != 1 {
			t.Errorf("%d packets queued on the way from port 53, want 1", n)
		}
	})
}

// What happens while nobody listens.
func TestBypass(t *testing.T) {
	for _, fanout := range vocabulary.Fanouts() {
		t.Run(string(fanout), func(t *testing.T) {
			bothFamilies(t, func(t *testing.T, ipv6 bool) {
				for _, bypass := range []bool{false, true} {
					ns := testkit.Namespace(t)
					c := udpRules(vocabulary.PlacementOutput, fanout, 3)
					c.Bypass = bypass
					i := install(t, c)
					_, _, loopback := ends(ipv6)
					f := open(t, ns, ns, at(loopback))
					f.send(1)
					patience := hardly
					if bypass {
						patience = surely
					}
					if got := f.receive(patience); got != bypass {
						t.Errorf("bypass %v: delivered is %v", bypass, got)
					}
					if err := i.Remove(); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}
