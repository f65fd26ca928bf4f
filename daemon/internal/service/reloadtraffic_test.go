package service

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/daemon/internal/control"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// sameSelection are configurations under which the gate selects the same packets, and
// otherSelections some under which it selects others.
var (
	sameSelection = []string{
		"rules: {placement: output, destination_ports: [5300]}\nguard: {mode: hold, hold: 10s}\n",
		"rules: {placement: postrouting, destination_ports: [5300]}\nguard: {mode: auto, hold: 9s}\n",
		"rules: {placement: output, destination_ports: [5300]}\nguard: {mode: auto, hold: 12s, settled: false}\n",
		"rules: {placement: verdict3, destination_ports: [5300]}\nguard: {mode: hold, hold: 10s, flow_packets: 100}\n",
		"rules: {placement: output, protocols: [udp, tcp], destination_ports: [5300]}\nguard: {hold: 10s}\n",
	}
	otherSelections = []string{
		"rules: {placement: output, destination_ports: [5300]}\nguard: {mode: hold, hold: 10s}\n",
		"rules: {placement: output, destination_ports: [5300, 5301]}\nguard: {hold: 10s, settled: false}\n",
		"rules: {placement: postrouting, families: [ipv4], destination_ports: [5300]}\nguard: {hold: 10s, exempt_ports: [5399]}\n",
	}
)

// TestReloadUnderTraffic: a hundred reloads, each with another placement, guard or policy,
// while flows go on and new ones begin. Nothing is lost, and nothing clashes.
func TestReloadUnderTraffic(t *testing.T) {
	checkReloads(t, 100, sameSelection)
}

// TestReloadOfSelection: and so where the gate is to select other packets.
func TestReloadOfSelection(t *testing.T) { checkReloads(t, 50, otherSelections) }

func checkReloads(t *testing.T, times int, shapes []string) {
	t.Helper()
	sent, got, s, c := reloads(t, times, shapes, "")
	if got != sent || c.Total.Received < uint64(sent) || c.Total.Dropped != 0 {
		t.Errorf("%d of %d packets arrived, %d were judged, %d dropped", got, sent, c.Total.Received, c.Total.Dropped)
	}
	if clashed := clashes(t); clashed > 0 {
		t.Errorf("%d clashes", clashed)
	}
	if s.Reloads.Refused != 0 || s.Reloads.Done < uint64(times)*9/10 {
		t.Errorf("reloads: %+v", s.Reloads)
	}
	if g := c.Gate.Total; g.Expired+g.Unguarded+g.Vanished != 0 {
		t.Errorf("gate: %+v", g)
	}
	t.Logf("%d packets, %d judged twice, %d held", sent, c.Total.Received-uint64(sent), c.Gate.Total.Held)
}

// wholly wants that all packets arrived, some of them judged, and no clashes.
func wholly(t *testing.T, sent, got int, c *childtest.Counts) {
	t.Helper()
	if got != sent || c.Total.Received == 0 {
		t.Errorf("%d of %d packets arrived, %d were judged", got, sent, c.Total.Received)
	}
	if n := clashes(t); n != 0 {
		t.Errorf("%d clashes", n)
	}
}

// TestReloadSelectsMore: flows that the gate has not seen, as nothing selected them so far,
// are under way when a reload selects them.
func TestReloadSelectsMore(t *testing.T) {
	sent, got, _, c := reloadsAt(t, senders{port + 1, 1, apace}, 30, []string{
		"rules: {placement: output, destination_ports: [5300]}\nguard: {mode: hold, hold: 10s}\n",
		"rules: {placement: output, destination_ports: [5300, 5301]}\nguard: {mode: hold, hold: 10s}\n",
		"rules: {placement: postrouting, destination_ports: [5300]}\nguard: {mode: hold, hold: 10s}\n",
		"rules: {placement: postrouting, destination_ports: [5301, 5302]}\nguard: {mode: hold, hold: 10s}\n",
	}, "")
	wholly(t, sent, got, &c)
	if g := c.Gate.Total; g.Expired+g.Unguarded+g.Vanished != 0 {
		t.Errorf("gate: %+v", g)
	}
	t.Logf("%d packets, %d judged, %d held", sent, c.Total.Received, c.Gate.Total.Held)
}

// TestReloadBeforeConntrack: the gate stays as long as packets are queued where it is needed.
func TestReloadBeforeConntrack(t *testing.T) {
	sent, got, _, c := reloads(t, 30, []string{
		"rules: {placement: output, destination_ports: [5300]}\nguard: {mode: hold, hold: 10s}\n",
		"rules: {placement: pre-conntrack, destination_ports: [5300]}\nguard: {mode: hold, hold: 10s}\n",
	}, "")
	wholly(t, sent, got, &c)
}

// TestReloadWhileFirstsWait: each flow's first packet waits for its verdict for long enough that a reload comes
// meanwhile, after which the flow is queued elsewhere, or not at all. Those behind it wait all the same.
func TestReloadWhileFirstsWait(t *testing.T) {
	needsLargeBuffers(t)
	for name, rules := range map[string]string{
		"placement behind":    "{placement: postrouting, destination_ports: [5300]}",
		"before conntrack":    "{placement: pre-conntrack, destination_ports: [5300]}",
		"untracked":           "{placement: notrack, destination_ports: [5300]}",
		"nowhere":             "{placement: none}",
		"other port":          "{placement: output, destination_ports: [5301]}",
		"other port behind":   "{placement: postrouting, destination_ports: [5301]}",
		"other family behind": "{placement: postrouting, families: [ipv6]}",
	} {
		t.Run(name, func(t *testing.T) {
			const slow = "guard: {mode: hold, hold: 10s}\nanalysis: {distribution: fixed, delay: 6ms, per: flow}\n"
			sent, got, _, c := reloadsAt(t, senders{port, 3, 3 * time.Millisecond}, 20, []string{
				"rules: {placement: output, destination_ports: [5300]}\n" + slow, "rules: " + rules + "\n" + slow,
			}, "")
			wholly(t, sent, got, &c)
		})
	}
}

// TestReloadLetsNothingPass: a policy that drops everything does so whatever else changes.
func TestReloadLetsNothingPass(t *testing.T) {
	sent, got, _, c := reloads(t, 40, slices.Concat(sameSelection, otherSelections), "policy: {default: drop}\n")
	if got != 0 || c.Total.Accepted != 0 {
		t.Errorf("%d of %d packets passed, %d were accepted", got, sent, c.Total.Accepted)
	}
}

// reloads has a daemon reload while packets are sent, and returns how many were, how many
// arrived, and what the daemon says before its end and counts.
func reloads(t *testing.T, times int, shapes []string, policy string) (sent, got int, s *control.Status, c childtest.Counts) {
	t.Helper()
	return reloadsAt(t, senders{port, 1, apace}, times, shapes, policy)
}

// senders are who send, and how long each waits between packets that are sent at once and the next ones.
type senders struct {
	port  uint16
	count int
	pause time.Duration
}

const apace = 200 * time.Microsecond

// reloadsAt does so with another load.
func reloadsAt(t *testing.T, by senders, times int, shapes []string, policy string) (sent, got int, s *control.Status, c childtest.Counts) {
	t.Helper()
	local, remote := testkit.VethPair(t)
	needsLargeBuffers(t)
	shapes = slices.Clone(shapes)
	for i := range shapes {
		// The machine may be busy with other tests: a queue that is full is not what this is about.
		shapes[i] += policy + "queues: {max_length: 60000, receive_buffer: 60000000}\n"
	}
	r := newReloadable(t, local, "run", shapes[0])
	to := netip.AddrPortFrom(testkit.RemoteIPv4.Addr(), by.port)
	in := listen(t, remote, to)
	end, out := make(chan struct{}), make(chan int)
	for range by.count {
		go func() { out <- sendFlows(t, local, to, by.pause, end) }()
	}
	var received atomic.Int64
	go receive(in, &received)
	for i := range times {
		shape := shapes[(i+1)%len(shapes)]
		if !strings.Contains(shape, "analysis:") {
			shape += fmt.Sprintf("analysis: {max: %dms}\n", i+1)
		}
		if policy == "" {
			shape += fmt.Sprintf("policy: {rules: [{name: number %d, action: accept}]}\n", i)
		}
		if i%10 == 9 {
			r.write(shape)
			r.Signal(unix.SIGHUP)
			continue
		}
		// A signal's reload may come behind the writing of this one, and do it.
		if answer := r.reload(shape); answer.Result == control.Refused {
			t.Errorf("%+v", answer)
		}
	}
	close(end)
	for range by.count {
		sent += <-out
	}
	settle(t, &received, sent)
	s = r.status()
	return sent, int(received.Load()), s, r.Stop()
}

// sendFlows sends flows of 40 packets, 4 at once, until the end.
func sendFlows(t *testing.T, from *netlab.NetNS, to netip.AddrPort, pause time.Duration, end <-chan struct{}) (sent int) {
	for flow := 0; ; flow++ {
		out := dial(t, from, to)
		for i := range 40 {
			// What is dropped behind OUTPUT is told to who sends.
			if _, err := fmt.Fprintf(out, "%d %d", flow, i); err == nil || errors.Is(err, unix.EPERM) {
				sent++
			}
			if i%4 == 3 {
				time.Sleep(pause)
			}
		}
		_ = out.Close()
		select {
		case <-end:
			return sent
		default:
		}
	}
}

// needsLargeBuffers skips the test where sockets may have the system's buffers only.
func needsLargeBuffers(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20); err != nil {
		t.Skipf("large receive buffers take root: %v", err)
	}
}
