package attacks

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/daemon/internal/control"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// copying is a router that judges what it forwards by a policy that is changed, and the host before and behind it.
type copying struct {
	*testing.T
	near, far *netlab.NetNS
	link      *net.Interface
	hardware  net.HardwareAddr // of the router
	socket    int
	folder    string
	client    *control.Client
	child     *childtest.Child
	logged    int      // bytes of the log that were looked at
	dropped   int      // packets since there was a pause
	answers   []string // what is told to senders: nothing where the kernel bounds that for the whole machine
}

func newCopying(t *testing.T) *copying {
	t.Helper()
	testkit.Require(t)
	c := &copying{T: t}
	for _, ns := range []**netlab.NetNS{&c.near, &c.far} { // without conntrack, which puts fragments together
		var err error
		if *ns, err = netlab.NewNetNS(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = (*ns).Close() })
	}
	addresses := func(host string) []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix("192.0.2." + host + "/24"), netip.MustParsePrefix("2001:db8:f::" + host + "/64")}
	}
	err := netlab.AddVeth(netlab.Endpoint{NetNS: c.near, Link: "near0", Addresses: addresses("1")},
		netlab.Endpoint{NetNS: c.far, Link: "far0", Addresses: addresses("2")})
	err = errors.Join(err, c.near.SetMTU("near0", 9000), c.far.SetMTU("far0", 9000), c.near.EnableForwarding(),
		c.near.SetSysctl("ipv4/conf/all/send_redirects", "0"), c.near.SetSysctl("ipv4/conf/near0/send_redirects", "0"),
		c.near.SetSysctl("ipv4/icmp_ratelimit", "0"), c.near.SetSysctl("ipv6/icmp/ratelimit", "0"))
	for _, network := range []string{"203.0.113.0/24", "198.51.100.0/24"} {
		err = errors.Join(err, c.near.AddRoute(netip.MustParsePrefix(network), netip.MustParseAddr("192.0.2.2")))
	}
	for _, network := range []string{"2001:db8:a::/64", "2001:db8:b::/64"} {
		err = errors.Join(err, c.near.AddRoute(netip.MustParsePrefix(network), netip.MustParseAddr("2001:db8:f::2")))
	}
	if err != nil {
		t.Fatal(err)
	}
	c.answers = []string{"accept", "drop", "count", "drop", "reject"}
	// Of the namespace since Linux 6.13; before, errors of ICMP are bounded for the machine.
	if errors.Join(c.near.SetSysctl("ipv4/icmp_msgs_per_sec", "1000000"), c.near.SetSysctl("ipv4/icmp_msgs_burst", "1000000")) != nil {
		c.answers = c.answers[:4]
	}
	c.open()
	return c
}

// open is for the socket through which packets come and go.
func (c *copying) open() {
	c.Helper()
	c.in(c.near, func() error {
		l, err := net.InterfaceByName("near0")
		if err == nil {
			c.hardware = l.HardwareAddr
		}
		return err
	})
	c.in(c.far, func() (err error) {
		if c.link, err = net.InterfaceByName("far0"); err != nil {
			return err
		}
		c.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(swapped(unix.ETH_P_ALL)))
		if err == nil {
			growBuffer(c.socket, 16<<20)
			err = unix.Bind(c.socket, &unix.SockaddrLinklayer{Protocol: swapped(unix.ETH_P_ALL), Ifindex: c.link.Index})
		}
		return err
	})
	c.Cleanup(func() { _ = unix.Close(c.socket) })
}

func swapped(n uint16) uint16 { return n<<8 | n>>8 }

func (c *copying) in(ns *netlab.NetNS, f func() error) {
	c.Helper()
	if err := ns.Do(f); err != nil {
		c.Fatal(err)
	}
}

func (c *copying) send(b []byte) {
	c.Helper()
	protocol := uint16(unix.ETH_P_IP)
	if b[0]>>4 == 6 {
		protocol = unix.ETH_P_IPV6
	}
	to := &unix.SockaddrLinklayer{Protocol: swapped(protocol), Ifindex: c.link.Index, Halen: 6}
	copy(to.Addr[:], c.hardware)
	if err := unix.Sendto(c.socket, b, 0, to); err != nil {
		c.Fatal(err)
	}
}

// last is a packet that every policy accepts. It is the last one, and all before it are judged when it has come.
func (c *copying) last() []byte {
	m := &maker{Rand: rand.New(rand.NewPCG(9, 9)), number: 0xfffe}
	return m.ipv4(netip.MustParseAddr("203.0.113.9"), 17, 0, 0, make([]byte, 8))
}

// seen are what came until the last packet, and how often: what was forwarded, and what the router answers.
func (c *copying) seen(packets [][]byte) map[string]int {
	c.Helper()
	for _, b := range packets {
		c.send(b)
	}
	c.send(c.last())
	seen := map[string]int{}
	b := make([]byte, 10_000)
	over := false
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		n, from, err := unix.Recvfrom(c.socket, b, 0)
		if err == unix.EAGAIN {
			poll := []unix.PollFd{{Fd: int32(c.socket), Events: unix.POLLIN}}
			n, err = unix.Poll(poll, 100)
			if n == 0 && err == nil && over {
				return seen // what was sent on by another CPU has come, too
			}
			continue
		}
		if err != nil {
			c.Fatal(err)
		}
		l, ok := from.(*unix.SockaddrLinklayer)
		if !ok || l.Pkttype == unix.PACKET_OUTGOING || n < 40 && b[0]>>4 == 6 || n < 20 {
			continue
		}
		p := slices.Clone(b[:n])
		switch {
		case p[0]>>4 == 4 && string(p[12:16]) == string(c.last()[12:16]):
			over = true
			continue
		case l.Protocol == swapped(unix.ETH_P_IP):
			if p[9] == 1 || p[9] == 6 { // answers of the kernel have numbers of their own
				clear(p[4:6])
				clear(p[10:12])
			}
		case l.Protocol == swapped(unix.ETH_P_IPV6):
			if p[24] == 0xff || p[8] == 0xfe || p[6] == 58 && n > 40 && p[40] >= 133 {
				continue // the neighbours', not of these packets
			}
			if p[6] == 58 || p[6] == 6 {
				clear(p[1:4])
			}
		default:
			continue
		}
		seen[string(p)]++
	}
	c.Fatal("the last packet has not come")
	return nil
}

// configuration is a policy's, with so much copied.
func (c *copying) configuration(copied, policy string) string {
	return fmt.Sprintf(`control: {socket: %q}
guard: {mode: "off"}
queues: {copy_range: %s}
log: {drops: 1000}
rules:
  placement: forward
  protocols: [udp, tcp, udplite, dccp, sctp, icmp, icmpv6, gre, 50, 51, 59, 0, 43, 44, 60]
%s`, c.client.Path(), copied, policy)
}

// judges has the router judge by a policy.
func (c *copying) judges(copied, policy string) {
	c.Helper()
	file := filepath.Join(c.folder, "verdictd.yaml")
	if c.child == nil {
		folder, err := os.MkdirTemp("", "c")
		if err != nil {
			c.Fatal(err)
		}
		c.Cleanup(func() { _ = os.RemoveAll(folder) })
		c.folder, file = folder, filepath.Join(folder, "verdictd.yaml")
		c.client = control.NewClient(filepath.Join(folder, "c.sock"))
	}
	if err := os.WriteFile(file, []byte(c.configuration(copied, policy)), 0o600); err != nil {
		c.Fatal(err)
	}
	if c.child == nil {
		c.child = childtest.Service(c.T, c.near, "run", "--config", file)
		return
	}
	answer, err := c.client.Reload(c.Context())
	if err != nil || answer.Result == control.Refused {
		c.Fatalf("%v, %+v: %s", err, answer, policy)
	}
}

// counters are what is told of packets, but for times and what there was before.
type counters struct {
	Verdicts map[string]uint64
	Rules    map[string]uint64
}

func (c *copying) count() counters {
	c.Helper()
	s, err := c.client.Status(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	out := counters{map[string]uint64{}, map[string]uint64{}}
	v := reflect.ValueOf(s.Statistics.Total.Verdicts)
	for i := range v.NumField() {
		// truncated tells of packets that were cut, which is what differs.
		if f := v.Field(i); f.Kind() == reflect.Uint64 && v.Type().Field(i).Name != "Truncated" {
			out.Verdicts[v.Type().Field(i).Name] = f.Uint()
		}
	}
	out.Verdicts["VerdictErrors"] = s.Statistics.Total.VerdictErrors
	for _, r := range s.Statistics.Rules {
		out.Rules[r.Name+" "+r.Action] += r.Packets
	}
	return out
}

// since is what was counted since before.
func (c counters) since(before counters) counters {
	less := func(a, b map[string]uint64) map[string]uint64 {
		out := map[string]uint64{}
		for k, n := range a {
			out[k] = n - b[k]
		}
		return out
	}
	return counters{less(c.Verdicts, before.Verdicts), less(c.Rules, before.Rules)}
}

var timeOfLine = regexp.MustCompile(`time=\S+`)

// drops are the lines of the log that are new and tell of a packet, without their times.
func (c *copying) drops() (lines map[string]int) {
	lines = map[string]int{}
	log := c.child.Log()
	for line := range strings.Lines(log[c.logged:]) {
		if strings.Contains(line, "rule=") {
			lines[timeOfLine.ReplaceAllString(strings.TrimSpace(line), "")]++
		}
	}
	c.logged = len(log)
	return lines
}

// outcomes are what comes of packets by a policy, with so much copied.
type outcomes struct {
	counters
	seen, drops map[string]int
}

func (c *copying) play(copied, policy string, packets [][]byte) outcomes {
	c.Helper()
	if c.dropped+len(packets) > 1000 { // that are logged in a second
		time.Sleep(1100 * time.Millisecond)
		c.dropped = 0
	}
	c.judges(copied, policy)
	before := c.count()
	o := outcomes{seen: c.seen(packets)}
	o.counters = c.count().since(before)
	dropped := int(o.Verdicts["Dropped"])
	c.dropped += dropped
	for end := time.Now().Add(20 * time.Second); o.drops == nil || time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		all := 0
		for line, n := range c.drops() {
			if o.drops == nil {
				o.drops = map[string]int{}
			}
			o.drops[line] += n
		}
		for _, n := range o.drops {
			all += n
		}
		if all >= dropped {
			break
		}
	}
	return o
}

// equal compares what came of the same packets.
func (c *copying) equal(policy string, auto, all outcomes) {
	c.Helper()
	if !maps.Equal(auto.Verdicts, all.Verdicts) || !maps.Equal(auto.Rules, all.Rules) {
		c.Errorf("%s\nby what it looks at: %v\nby whole packets:    %v", policy, auto.counters, all.counters)
	}
	for what, both := range map[string][2]map[string]int{"packets": {auto.seen, all.seen}, "log": {auto.drops, all.drops}} {
		for k := range both[0] {
			if both[0][k] != both[1][k] {
				c.Errorf("%s\n%s: %d and %d of %.300q", policy, what, both[0][k], both[1][k], k)
			}
		}
		for k := range both[1] {
			if both[0][k] != both[1][k] {
				c.Errorf("%s\n%s: %d and %d of %.300q", policy, what, both[0][k], both[1][k], k)
			}
		}
	}
}

// TestCopiedOrWhole: what comes of packets, what is counted and what is logged is the same whether the kernel copies
// what the policy looks at or whole packets. Of packets that both read the same way, the daemon's rules match those
// that nftables' do.
func TestCopiedOrWhole(t *testing.T) {
	c := newCopying(t)
	m := &maker{Rand: rand.New(rand.NewPCG(3, 5))}
	ones := m.plainOnes(100)
	packets := slices.Concat(ones, m.oddOnes(100))
	c.kernelCounts()

	// Each condition counts.
	var counts strings.Builder
	counts.WriteString("policy:\n  rules:\n  - {name: last, source: [203.0.113.9/32], action: accept}\n")
	for i, condition := range conditions {
		fmt.Fprintf(&counts, "  - {name: c%d, action: count, source: [%s/32, \"%s/128\"], %s}\n", i, plain[false], plain[true], condition.rule)
	}
	var played []outcomes
	for _, copied := range []string{"auto", "0"} {
		before := c.counted()
		o := c.play(copied, counts.String(), packets)
		after := c.counted()
		for k := range after {
			if want := after[k] - before[k]; o.Rules[k] != want || want == 0 || want == uint64(len(ones)) {
				t.Errorf("copy_range %s: %s matches %d packets of %d, and %d by the kernel", copied, k, o.Rules[k], len(ones), want)
			}
		}
		if len(after) != len(conditions) || o.Verdicts["Undecodable"] == 0 || o.Verdicts["CopiedAgain"] != 0 {
			t.Errorf("copy_range %s: %v, %v by the kernel", copied, o.counters, after)
		}
		played = append(played, o)
	}
	c.equal(counts.String(), played[0], played[1])

	for round := range 4 {
		policy := m.policy(round, c.answers)
		c.play("auto", policy, packets) // what has no ports is one flow, of which conntrack knows from here on
		auto := c.play("auto", policy, packets)
		c.equal(policy, auto, c.play("0", policy, packets))
	}
	c.child.Signal(unix.SIGTERM)
	if err := c.child.Ended(); err != nil {
		t.Error(err)
	}
}
