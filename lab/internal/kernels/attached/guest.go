package attached

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"verdictd/internal/netlab"
	"verdictd/internal/statistics"
	"verdictd/lab/internal/testbed"
)

// The ports that rules tell apart, and how many packets a flow that is judged once has.
const (
	markedPort = 9001
	oncePort   = 9002
	further    = 1000
)

// policy drops all but what its rules name, and these match by what conntrack says alone: no other rule lets a packet
// of that port pass.
const policy = `guard: {mode: "off"}
control: {socket: ""}
rules: {placement: output, protocols: [udp]}
statistics: {file: %q}
policy:
  default: drop
  rules:
    - {name: first, action: accept, destination_ports: ["9001"], conntrack: [new], connmark: ["0/0xff"], set_connmark: "0x5/0xff"}
    - {name: further, action: count, destination_ports: ["9001"], conntrack: [new], connmark: ["0x5/0xff"]}
    - {name: answer, action: accept, source_ports: ["9001"], conntrack: [reply], connmark: ["0x5/0xff"]}
    - {name: answered, action: drop, destination_ports: ["9001"], conntrack: [established], connmark: ["0x5/0xff"]}
    - {name: once, action: accept, destination_ports: ["9002"], flow: true}
`

// Inside is what the machine runs: a daemon in a namespace, and the packets whose verdicts tell what it knows.
func Inside(ctx context.Context) (text string, err error) {
	p, err := testbed.FindPrograms("")
	if err != nil {
		return "", err
	}
	t, err := netlab.NewTopology(netlab.Loopback, "ipv4")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	dir, err := os.MkdirTemp("", "attached")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file, counts := filepath.Join(dir, "verdictd.yaml"), filepath.Join(dir, "statistics.json")
	if err := os.WriteFile(file, fmt.Appendf(nil, policy, counts), 0o600); err != nil {
		return "", err
	}
	g := testbed.NewGroup(ctx, dir)
	defer g.Close()
	daemon, err := g.StartService(t.Queue, p.Verdictd, "run", "--config", file)
	if err != nil {
		return "", err
	}
	if err := t.Queue.Do(talk); err != nil {
		return "", err
	}
	if err := daemon.Stop(syscall.SIGTERM); err != nil {
		return "", err
	}
	d, err := testbed.ReadStatistics(counts)
	if err != nil {
		return "", err
	}
	return judge(d)
}

// judge says what the daemon's own counts show.
func judge(d *statistics.Document) (string, error) {
	of := map[string]uint64{}
	for _, r := range d.Rules {
		of[r.Name] = r.Packets
	}
	for name, want := range map[string]uint64{"first": 1, "further": 1, "answer": 1, "answered": 1} {
		if of[name] != want {
			return "", fmt.Errorf("%d packets matched the rule %s, want %d", of[name], name, want)
		}
	}
	if n := of["once"]; n == 0 || n > 8 {
		return "", fmt.Errorf("%d of %d packets of a flow that is judged once came to the daemon, want 8 at most", n, further)
	}
	return fmt.Sprintf("states and marks of conntrack match, a mark that a verdict sets is the flow's, and of %d packets of a "+
		"flow that is judged once %d came to the daemon", further, of["once"]), nil
}

// talk sends the packets, and checks which ones arrive.
func talk() error {
	marked, err := listen(markedPort)
	if err != nil {
		return err
	}
	defer func() { _ = marked.Close() }()
	once, err := listen(oncePort)
	if err != nil {
		return err
	}
	defer func() { _ = once.Close() }()
	client, err := listen(0)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	for _, step := range []struct {
		what     string
		from, to *net.UDPConn
		arrives  bool
	}{
		{"the first packet, which is new and has no mark yet", client, marked, true},
		{"the second one, which has the mark and only the default's verdict", client, marked, false},
		{"the answer, which has the mark", marked, client, true},
		{"a packet of a flow with an answer", client, marked, false},
	} {
		if got, err := comes(step.from, step.to, step.arrives); err != nil || got != step.arrives {
			return errors.Join(fmt.Errorf("%s: that it arrives is %v, want %v", step.what, got, step.arrives), err)
		}
	}
	for i := range further {
		if got, err := comes(client, once, true); err != nil || !got {
			return errors.Join(fmt.Errorf("packet %d of a flow that is accepted does not arrive", i+1), err)
		}
	}
	return nil
}

func listen(port int) (*net.UDPConn, error) {
	return net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
}

// A packet that is to arrive does so whenever the machine comes to it. One that is dropped is so in milliseconds.
const (
	arrivesWithin = 30 * time.Second
	silence       = 2 * time.Second
)

// comes sends a packet and reports whether it arrives, as it should or not.
func comes(from, to *net.UDPConn, should bool) (bool, error) {
	within := silence
	if should {
		within = arrivesWithin
	}
	if _, err := from.WriteTo([]byte("x"), to.LocalAddr()); err != nil {
		return false, err
	}
	if err := to.SetReadDeadline(time.Now().Add(within)); err != nil {
		return false, err
	}
	_, err := to.Read(make([]byte, 8))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false, nil
	}
	return err == nil, err
}
