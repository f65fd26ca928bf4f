package language

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/daemon/internal/control"
	"verdictd/internal/netlab"
	"verdictd/internal/statistics"
	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// daemon judges what goes to some ports of its namespace.
type daemon struct {
	*childtest.Child
	t      *testing.T
	dir    string
	client *control.Client
}

// start starts it with sections of a configuration.
func start(t *testing.T, ns *netlab.NetNS, text string) *daemon {
	t.Helper()
	d := prepared(t)
	d.write(text)
	d.run(ns)
	return d
}

// prepared has a folder of its own, and no configuration.
func prepared(t *testing.T) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // t.TempDir holds the test's name, and a socket's path at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &daemon{t: t, dir: dir, client: control.NewClient(filepath.Join(dir, "c.sock"))}
}

func (d *daemon) run(ns *netlab.NetNS) {
	d.t.Helper()
	d.Child = childtest.Service(d.t, ns, "run", "--config", filepath.Join(d.dir, "verdictd.yaml"))
	d.File = filepath.Join(d.dir, "statistics.json")
}

func (d *daemon) write(text string) {
	d.t.Helper()
	d.writeWhole("rules: {protocols: [tcp, udp], destination_ports: [53, 80, 443]}\n" + text)
}

// writeWhole writes a configuration that has rules of its own for the kernel.
func (d *daemon) writeWhole(text string) {
	d.t.Helper()
	base := fmt.Sprintf("control: {socket: %q}\nstatistics: {file: %q}\n", d.client.Path(), filepath.Join(d.dir, "statistics.json"))
	d.replace("verdictd.yaml", base+text)
}

// replace puts a text in the place of a file.
func (d *daemon) replace(name, text string) {
	d.t.Helper()
	file := filepath.Join(d.dir, name)
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) statistics() *statistics.Document {
	d.t.Helper()
	s, err := d.client.Status(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return s.Statistics
}

// packets are those that a rule has decided on.
func (d *daemon) packets(rule string) uint64 {
	d.t.Helper()
	for _, r := range d.statistics().Rules {
		if r.Name == rule {
			return r.Packets
		}
	}
	d.t.Fatalf("there is no rule %q", rule)
	return 0
}

func (d *daemon) set(name string) statistics.Set {
	d.t.Helper()
	for _, s := range d.statistics().Sets {
		if s.Name == name {
			return s
		}
	}
	d.t.Fatalf("there is no set %q", name)
	return statistics.Set{}
}

// await waits for something.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// server accepts connections until the test ends.
func server(t *testing.T, port int, serve func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
}

// dial connects to a port in the calling goroutine's namespace.
func dial(t *testing.T, network string, port int) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(network, fmt.Sprintf("127.0.0.1:%d", port), 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
