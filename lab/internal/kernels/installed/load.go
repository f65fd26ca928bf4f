package installed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfq"
	"verdictd/internal/results"
	"verdictd/internal/traffic"
	"verdictd/lab/internal/child"
	"verdictd/lab/internal/testbed"
)

// network makes a namespace that packets go to, and a firewall that has conntrack look at them.
func network(ctx context.Context) error {
	const firewall = "table inet firewall {\n chain output {\n  type filter hook output priority 0;\n  ct state invalid counter drop\n }\n}\n"
	if err := os.WriteFile("/etc/firewall.nft", []byte(firewall), 0o600); err != nil {
		return err
	}
	if err := all(ctx,
		"ip netns add peer",
		"ip link add peer0 address 02:00:00:00:00:01 type veth peer name host0 address 02:00:00:00:00:02 netns peer",
		"ip address add 192.0.2.1/24 dev peer0",
		"ip link set peer0 up",
		"ip -n peer link set lo up",
		"ip -n peer address add 192.0.2.2/24 dev host0",
		"ip -n peer link set host0 up",
		// Nothing waits for an answer of the neighbour's that comes behind all that a gap has held back.
		"ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 nud permanent dev peer0",
		"ip -n peer neighbour add 192.0.2.1 lladdr 02:00:00:00:00:01 nud permanent dev host0",
		"nft -f /etc/firewall.nft",
	); err != nil {
		return err
	}
	// What a thread gave a verdict on waits in the list of the processor that it was on. Where it has moved to another
	// one, its next packet overtakes, if softirqs are slow there: so one processor has all of them, in a list that
	// takes all that a restart has kept.
	if err := os.WriteFile("/proc/sys/net/core/netdev_max_backlog", []byte("1000000"), 0); err != nil {
		return err
	}
	_, err := run(ctx, "ip", "netns", "exec", "peer", "sh", "-c", "echo 1 >/sys/class/net/host0/queues/rx-0/rps_cpus")
	return err
}

const (
	peer         = "/run/netns/peer"
	peerAddress  = "192.0.2.2"
	acceptedPort = "9999"
	droppedPort  = "9998"
	mixedPort    = "9997"
)

// A stream is a sender with its receiver.
type stream struct {
	name   string
	result string // file
	stderr child.Tail
	cmd    *exec.Cmd
}

func startStream(ctx context.Context, name string, args ...string) (*stream, error) {
	s := &stream{name: name, result: "/root/" + name + ".json"}
	s.cmd = exec.CommandContext(ctx, "/bin/stress", append(args, "--receiver-netns", peer, "--json", s.result)...)
	s.cmd.Stderr = &s.stderr
	return s, s.cmd.Start()
}

// end has it stop, count what is still on its way, and say what it counted.
func (s *stream) end(result any) error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.wait(result)
}

// wait waits for it to end by itself, and has what it counted.
func (s *stream) wait(result any) error {
	// That it was cut short, or lost packets, is an exit status of 1, and a result.
	err := s.cmd.Wait()
	text, e := os.ReadFile(s.result)
	if e == nil {
		e = json.Unmarshal(text, result)
	}
	if e != nil {
		return errors.Join(fmt.Errorf("stress %s: %w%s", s.name, e, s.stderr.Quote(testbed.Quoted)), err)
	}
	return nil
}

// mixed is the rate of new flows, in packets a second.
func (l *Load) mixed() int { return max(1, l.Rate/50) }

// A load is what packets are sent while things happen to the service.
type load struct{ accepted, dropped, mixed *stream }

func (g *guest) startLoad(ctx context.Context) (l load, err error) {
	flood := func(name, port string, linger time.Duration) (*stream, error) {
		return startStream(ctx, name, "flood", "--target", peerAddress, "--port", port, "--flows", "64",
			"--pace", "rate:"+strconv.Itoa(g.Rate), "--duration", "1h", "--timeout", "2h", "--linger", linger.String())
	}
	// What a gap has held back may take a slow machine as long again.
	if l.accepted, err = flood("accepted", acceptedPort, g.Gap); err != nil {
		return l, err
	}
	// It waits for what must not come, after the accepted ones have come through the same queues.
	if l.dropped, err = flood("dropped", droppedPort, 5*time.Second); err != nil {
		return l, err
	}
	// New flows, all of which come back.
	// Their sockets are open for as long as answers may wait in a queue.
	l.mixed, err = startStream(ctx, "mixed", "soak", "--target", peerAddress+":"+mixedPort+"/echo", "--source", "192.0.2.1", "--rate",
		strconv.Itoa(g.mixed()), "--duration", "1h", "--answer-within", g.Gap.String(), "--linger", g.Gap.String())
	return l, err
}

// A ledger is what became of all packets.
type ledger struct {
	accepted, dropped results.Flood
	mixed             traffic.SoakResult
	waiting           uint32 // in queues when all had ended, so that it is not known what becomes of them
}

func (l *load) end() (*ledger, error) {
	var r ledger
	err := errors.Join(l.accepted.end(&r.accepted), l.dropped.end(&r.dropped), l.mixed.end(&r.mixed))
	queues, e := nfq.ReadKernelQueues()
	for _, q := range queues {
		r.waiting += q.Queued
	}
	return &r, errors.Join(err, e)
}

// judge says what the ledger shows.
func (r *ledger) judge() (string, error) {
	a, d := &r.accepted, &r.dropped
	if a.FloodArrivals == nil || d.FloodArrivals == nil {
		return "", errors.New("a stream has not said what arrived")
	}
	var mixed uint64
	for _, t := range r.mixed.Targets {
		mixed += t.Sent
	}
	text := fmt.Sprintf("of %d packets %d lost, %d duplicated, %d reordered, of %d to be dropped %d unjudged, of %d of new flows: %s",
		a.Sent, a.Lost, a.Duplicated, a.Reordered, d.Sent, d.Delivered, mixed, strings.Join(r.mixed.Violations, "; "))
	if len(r.mixed.Violations) == 0 {
		text += "nothing amiss"
	}
	lost := a.Lost
	if n := a.ReceiverDropped; n != nil && *n > 0 {
		// They came through. What a gap has held back comes all at once, and this receiver had no room.
		text += fmt.Sprintf(", %d of those lost at the receiver's own socket", *n)
		lost -= min(lost, *n)
	}
	if n := a.SendErrno[unix.ErrnoName(unix.EAGAIN)]; n > 0 {
		// The sender's own socket was full of packets that wait. The kernel has not taken these.
		text += fmt.Sprintf(", %d of those not sent, as the sender's own socket was full", n)
		lost -= min(lost, n)
	}
	if a.Clashes != nil {
		text += fmt.Sprintf(", %d clashes", *a.Clashes)
	}
	if r.waiting > 0 {
		text += fmt.Sprintf(", %d packets wait in queues still: this machine is too slow for the rate or the gap", r.waiting)
	}
	if a.Sent == 0 || d.Sent == 0 || mixed == 0 {
		return "", errors.New("nothing was sent: " + text)
	}
	if lost+a.Duplicated+a.Reordered+d.Delivered > 0 || r.waiting > 0 || len(r.mixed.Violations) > 0 || a.Clashes != nil && *a.Clashes > 0 {
		return "", errors.New(text)
	}
	return text, nil
}

// underLoad makes everything that happens to a service in its life.
func (g *guest) underLoad(ctx context.Context) (string, error) {
	before, err := readDrops()
	if err != nil {
		return "", err
	}
	r, err := g.during(ctx, func() error { return g.happen(ctx) })
	if r == nil {
		return "", err
	}
	text, amiss := r.judge()
	said := fmt.Sprintf("%d reloads, %d restarts, %d kills, %d upgrades: %s", g.Reloads, g.Restarts, g.Kills, g.Upgrades, text)
	if amiss != nil {
		after, e := readDrops()
		amiss = errors.Join(fmt.Errorf("%s%w; %s", said, amiss, after.since(before)), e)
	}
	return said, errors.Join(err, amiss)
}

// during sends the load while something happens. The ledger is nil where there is none.
func (g *guest) during(ctx context.Context, happen func() error) (*ledger, error) {
	l, err := g.startLoad(ctx)
	if err != nil {
		return nil, err
	}
	time.Sleep(2 * time.Second)
	happened := happen()
	time.Sleep(time.Second)
	r, err := l.end()
	if err != nil {
		return nil, errors.Join(happened, err)
	}
	return r, happened
}

// happen makes one after the other, with a line for each, as one may take long.
func (g *guest) happen(ctx context.Context) error {
	for _, h := range []struct {
		what  string
		times int
		make  func(i int) error
	}{
		{"reload", g.Reloads, func(int) error { return g.same(ctx, "systemctl", "reload", unit) }},
		{"restart", g.Restarts, func(int) error { return g.other(ctx, unit, "systemctl", "restart", unit) }},
		{"kill", g.Kills, func(int) error {
			return g.other(ctx, unit, "systemctl", "kill", "--signal=KILL", "--kill-whom=main", unit)
		}},
		{"upgrade", g.Upgrades, func(i int) error {
			file := packagePath
			if i%2 == 1 {
				file = beforePath // and back, for the next upgrade
			}
			return errors.Join(g.other(ctx, unit, "dpkg", "-i", file), runsWhatIsInstalled(ctx))
		}},
	} {
		if err := g.times(h.times, h.what, h.make); err != nil {
			return err
		}
		if h.times > 0 {
			g.timeline(ctx)
		}
	}
	return nil
}

// timeline shows what the service and systemd said of the last event, for whoever asks where the time goes.
func (g *guest) timeline(ctx context.Context) {
	text, err := run(ctx, "journalctl", "--no-pager", "-o", "short-monotonic", "-n", "40", "-u", unit)
	if err != nil {
		fmt.Fprintln(g.w, err)
		return
	}
	lines := strings.Split(text, "\n")
	for i := len(lines) - 1; i > 0; i-- {
		if strings.Contains(lines[i], ": Stopping ") || strings.Contains(lines[i], ": Main process exited") {
			lines = lines[i:]
			break
		}
	}
	for _, line := range lines {
		if !strings.Contains(line, "audit: ") {
			fmt.Fprintf(g.w, "                %.240s\n", line)
		}
	}
}

// times makes something so many times, with a line for each.
func (g *guest) times(times int, what string, do func(i int) error) error {
	for i := range times {
		begun := time.Now()
		g.watch.take()
		err := do(i)
		fmt.Fprintf(g.w, "%6.1f s        %s %d: %.1f s; %v\n", time.Since(g.began).Seconds(), what, i+1, time.Since(begun).Seconds(),
			g.watch.take())
		if err != nil {
			return err
		}
	}
	return nil
}

// withinSlow is how long anything of systemd may take in a machine that is emulated on a busy host.
const withinSlow = 5 * time.Minute

// same does what leaves the process as it is.
func (g *guest) same(ctx context.Context, name string, args ...string) error {
	before, err := mainPID(ctx, unit)
	if err != nil {
		return err
	}
	if _, err := run(ctx, name, args...); err != nil {
		return err
	}
	after, err := mainPID(ctx, unit)
	if err == nil && before != after {
		err = fmt.Errorf("%s %s made a new process of %s", name, strings.Join(args, " "), unit)
	}
	return err
}

// other does what puts another process in the place of this one, and waits until that serves.
func (g *guest) other(ctx context.Context, unit, name string, args ...string) error {
	before, err := mainPID(ctx, unit)
	if err != nil {
		return err
	}
	if _, err := run(ctx, name, args...); err != nil {
		return err
	}
	var state string
	for deadline := time.Now().Add(withinSlow); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		state, _ = run(ctx, "systemctl", "is-active", unit)
		after, err := mainPID(ctx, unit)
		if err == nil && state == "active" && after != before && after != "0" {
			return nil
		}
	}
	return fmt.Errorf("%s %s: %s is %s", name, strings.Join(args, " "), unit, state)
}

func mainPID(ctx context.Context, unit string) (string, error) {
	return run(ctx, "systemctl", "show", "--value", "-p", "MainPID", unit)
}

// runsWhatIsInstalled: an upgrade that left the old program running would lose nothing either.
func runsWhatIsInstalled(ctx context.Context) error {
	pid, err := mainPID(ctx, unit)
	if err != nil {
		return err
	}
	running, err := run(ctx, "/proc/"+pid+"/exe", "--version")
	if err != nil {
		return err
	}
	installed, err := run(ctx, "dpkg-query", "-W", "-f", "${Version}", "verdictd")
	if err != nil {
		return err
	}
	if running != "verdictd v"+installed {
		return fmt.Errorf("%q runs, %q is installed", running, installed)
	}
	return nil
}
