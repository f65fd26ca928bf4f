package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/internal/traffic"
)

const (
	// patience bounds the wait for the program to get over a fault.
	patience = 15 * time.Second
	// settle is how long a fault's consequences are looked for when packets arrive again.
	settle = 200 * time.Millisecond
	// calm is how long a keeper must have seen no failure to start the program at once.
	calm = 10500 * time.Millisecond
)

// nemesis has faults happen.
type nemesis struct {
	ctx     context.Context
	top     *netlab.Topology
	subject *subject
	load    *load
	// tables puts the rules back where the program does not do so itself; nil: it does.
	tables func() error
	failed time.Time // when the keeper last had to start the program
}

// suffer has one fault happen, and returns what there was to see.
func (n *nemesis) suffer(s step) Fault {
	if wait := time.Until(n.failed.Add(calm)); s.name == "kill" && n.subject.keeper && wait > 0 {
		n.sleep(wait)
	}
	f := Fault{Kind: s.name}
	if s.Lasts > time.Microsecond {
		f.SettingMS = milliseconds(s.Lasts)
	}
	before, err := n.count()
	n.load.watchGap()
	n.load.stalled.Store(0)
	began := n.load.now()
	if err == nil {
		err = s.play(n, s.setting)
	}
	err = errors.Join(err, n.recovered(n.load.now()))
	if err != nil && n.ctx.Err() == nil {
		f.Error = err.Error()
		if err := n.revive(); err != nil {
			f.Error += "; and it could not be started once more: " + err.Error()
		}
	}
	n.sleep(settle)
	if s.name == "kill" {
		n.failed = time.Now()
	}
	after, err := n.count()
	if err != nil && f.Error == "" && n.ctx.Err() == nil {
		f.Error = err.Error()
	}
	f.began, f.ended = began, n.load.now()
	f.AtMS, f.TookMS = milliseconds(began), milliseconds(f.ended-began-settle)
	f.LongestGapMS = milliseconds(n.load.read(f.ended).gap)
	f.stalled = time.Duration(n.load.stalled.Load())
	f.took(&before, &after)
	return f
}

// recovered waits until a packet has arrived that was sent after a time.
func (n *nemesis) recovered(at time.Duration) error {
	for end := time.Now().Add(patience); time.Now().Before(end) && n.ctx.Err() == nil; n.sleep(2 * time.Millisecond) {
		if n.load.read(n.load.now()).recent > at {
			return nil
		}
	}
	return fmt.Errorf("no packet has arrived within %v", patience)
}

func (n *nemesis) revive() error {
	err := n.subject.revive()
	if n.tables != nil {
		err = errors.Join(err, n.tables())
	}
	return errors.Join(err, n.recovered(n.load.now()))
}

func (n *nemesis) sleep(d time.Duration) {
	select {
	case <-n.ctx.Done():
	case <-time.After(d):
	}
}

func (n *nemesis) reload(setting) error {
	at := n.load.now()
	if err := n.subject.reload(); err != nil {
		return err
	}
	for end := time.Now().Add(patience); time.Now().Before(end) && n.ctx.Err() == nil; n.sleep(2 * time.Millisecond) {
		if n.load.inForce(n.subject.policing, at, cycle*time.Second/time.Duration(n.load.rate)) {
			return nil
		}
	}
	return fmt.Errorf("the new configuration is not in force after %v", patience)
}

func (n *nemesis) restart(setting) error { return n.subject.restart() }

func (n *nemesis) kill(s setting) error { return n.subject.kill(s.Lasts) }

func (n *nemesis) stop(s setting) error { return n.subject.freeze(s.Lasts) }

func (n *nemesis) flush(setting) error { return n.shell(n.top.Queue, "conntrack -F") }

func (n *nemesis) delete(s setting) error {
	sources := netlab.Networks[netlab.Families()[0]].SourceList()
	// It fails where there is no entry.
	return n.shell(n.top.Queue, "conntrack -D -s "+sources[s.Which%len(sources)].String()+" || :")
}

// A firewall's rules for the nemesis, which decide nothing.
const (
	nftFirewall = `nft -f - <<'END'
table ip firewall
delete table ip firewall
table ip firewall {
	chain forward {
		type filter hook forward priority 10; policy accept;
		udp dport 5 drop
	}
}
END`
	iptablesFirewall = `iptables-restore <<'END'
*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -p udp --dport 5 -j DROP
COMMIT
END`
)

func (n *nemesis) firewall(s setting) error {
	return n.shell(n.top.Queue, []string{nftFirewall, iptablesFirewall}[s.Which%2])
}

// ruleset takes all rules out. The program, or for one that has no hand in them its operator, puts them back.
func (n *nemesis) ruleset(setting) error {
	if err := n.shell(n.top.Queue, "nft flush ruleset"); err != nil {
		return err
	}
	if n.tables != nil {
		return n.tables()
	}
	for end := time.Now().Add(patience); time.Now().Before(end); n.sleep(5 * time.Millisecond) {
		if out, err := n.output(n.top.Queue, "nft list ruleset"); err == nil && strings.Contains(out, "queue") {
			return nil
		}
	}
	return fmt.Errorf("the rules are not back after %v", patience)
}

func (n *nemesis) interfaces(s setting) error {
	link := []string{"eth0", netlab.OuterLink}[s.Which%2]
	err := n.shell(n.top.Queue, "ip link set "+link+" down")
	n.sleep(s.Lasts)
	return errors.Join(err, n.shell(n.top.Queue, "ip link set "+link+" up"))
}

// overload sends at full speed.
func (n *nemesis) overload(s setting) error {
	network := netlab.Networks[netlab.Families()[0]]
	c := traffic.DefaultFlood()
	c.Target, c.Port, c.Sources = network.Target, portOverload, network.SourceList()
	c.Packets, c.Duration, c.Blind = traffic.MaxFloodPackets, s.Lasts, true
	c.SenderNetns, c.ReceiverNetns = n.top.Sender.Path(), n.top.Receiver.Path()
	_, err := traffic.RunFlood(n.ctx, c, nil)
	return err
}

// neighbour has others want the machine's CPUs, and the kernel wait for all of them: with a namespace goes what others
// may still look at (RCU).
func (n *nemesis) neighbour(s setting) (err error) {
	var programs []*exec.Cmd
	for range 2 * runtime.NumCPU() {
		// It ends by itself, whatever becomes of the lab.
		cmd := exec.CommandContext(n.ctx, "timeout", fmt.Sprintf("%.3f", s.Lasts.Seconds()), "sh", "-c", "while :; do :; done")
		if err = cmd.Start(); err != nil {
			break
		}
		programs = append(programs, cmd)
	}
	for until := time.Now().Add(s.Lasts); err == nil && time.Now().Before(until) && n.ctx.Err() == nil; {
		var others *netlab.Topology
		if others, err = netlab.NewTopology(netlab.TwoHosts); err == nil {
			err = others.Close()
		}
	}
	for _, cmd := range programs {
		_ = cmd.Wait() // timeout's status tells that it was the time
	}
	return err
}

// second starts the program while it is there, and wants it to refuse.
func (n *nemesis) second(setting) error {
	s := *n.subject
	var args []string
	program := s.Verdictd
	if s.program == report.ProgramLibrary {
		program, args = s.reference, []string{"--queue", "0"}
	} else {
		path, err := s.group.WriteConfig("verdictd.yaml", s.config())
		if err != nil {
			return err
		}
		args = []string{"run", "--config", path}
	}
	p, err := s.group.Start(s.ns, true, nil, program, args...)
	if err != nil {
		return err
	}
	err = p.Wait(patience)
	if !p.Over() {
		_ = p.Cmd.Process.Kill()
		return errors.New("a second one has started, and neither refuses nor ends")
	}
	if err == nil {
		return errors.New("a second one has ended as if all were well")
	}
	return nil
}

func (n *nemesis) shell(ns *netlab.NetNS, script string) error {
	_, err := n.output(ns, script)
	return err
}

// output runs a script as an operator would type it.
func (n *nemesis) output(ns *netlab.NetNS, script string) (string, error) {
	ctx, cancel := context.WithTimeout(n.ctx, patience)
	defer cancel()
	var out []byte
	err := ns.Do(func() (err error) {
		cmd := exec.CommandContext(ctx, "sh", "-euc", script)
		cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
		cmd.WaitDelay = time.Second
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		first, _, _ := strings.Cut(script, "\n")
		return "", fmt.Errorf("%s: %w: %s", first, err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond).Microseconds()) / 1000
}

// missing names the commands that the faults need and this machine has not.
func missing() (list []string) {
	for _, name := range []string{"nft", "iptables-restore", "conntrack", "ip", "timeout"} {
		found := false
		for _, dir := range append([]string{"/usr/sbin", "/sbin"}, filepath.SplitList(os.Getenv("PATH"))...) {
			if _, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				found = true
			}
		}
		if !found {
			list = append(list, name)
		}
	}
	return list
}
