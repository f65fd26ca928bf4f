package service

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/daemon/internal/control"
	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// reloadable is a daemon with a control socket.
type reloadable struct {
	*childtest.Child
	t      *testing.T
	config string // its file
	client *control.Client
	base   string
}

// newReloadable starts `verdictd run`, or guard, with a configuration.
func newReloadable(t *testing.T, ns *netlab.NetNS, command, text string) *reloadable {
	t.Helper()
	dir, err := os.MkdirTemp("", "r") //nolint:usetesting // t.TempDir holds the test's name, and a socket's path at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &reloadable{t: t, config: filepath.Join(dir, "verdictd.yaml"), client: control.NewClient(filepath.Join(dir, "c.sock"))}
	r.base = fmt.Sprintf("control: {socket: %q}\nstatistics: {file: %q}\n", r.client.Path(), filepath.Join(dir, "statistics.json"))
	r.write(text)
	r.Child = childtest.Service(t, ns, command, "--config", r.config)
	r.File = filepath.Join(dir, "statistics.json")
	return r
}

// write puts a configuration in the place of the one before, as editors do.
func (r *reloadable) write(text string) {
	r.t.Helper()
	temporary := r.config + ".new"
	if err := os.WriteFile(temporary, []byte(r.base+text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(temporary, r.config); err != nil {
		r.t.Fatal(err)
	}
}

// reload writes a configuration and has it applied.
func (r *reloadable) reload(text string) *control.Reload {
	r.t.Helper()
	r.write(text)
	return r.ask()
}

// ask has the configuration applied as it is written.
func (r *reloadable) ask() *control.Reload {
	r.t.Helper()
	answer, err := r.client.Reload(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return answer
}

// done is reload where it must be done.
func (r *reloadable) done(text string) {
	r.t.Helper()
	if answer := r.reload(text); answer.Result != control.Done {
		r.t.Fatalf("the reload of %q is %+v, want it to be done", text, answer)
	}
}

func (r *reloadable) status() *control.Status {
	r.t.Helper()
	s, err := r.client.Status(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

const oneport = "rules: {destination_ports: [5300]}\n"

// TestReloadPolicy: what is sent after the answer meets the new policy.
func TestReloadPolicy(t *testing.T) {
	ns := testkit.Namespace(t)
	r := newReloadable(t, ns, "run", oneport)
	in := listen(t, ns, loopback4)
	out := dial(t, ns, loopback4)
	for i := range 10 {
		r.done(oneport + "policy: {default: drop}\n")
		write(t, out, "dropped")
		r.done(oneport + fmt.Sprintf("policy: {rules: [{name: rule %d, action: accept}]}\n", i))
		write(t, out, fmt.Sprint("passes ", i))
		want(t, in, fmt.Sprint("passes ", i))
	}
	s := r.status()
	if s.Reloads.Done != 20 || s.Reloads.Refused != 0 || s.Statistics.Total.Dropped != 10 || s.Statistics.Total.Accepted != 10 {
		t.Errorf("reloads %+v, verdicts %+v", s.Reloads, s.Statistics.Total)
	}
	if s.State != control.Running || s.Configuration.File != r.config || s.Configuration.OnDisk != "same" || !s.Rules.Present {
		t.Errorf("status %+v", s)
	}
	text, err := r.client.Effective(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := config.Parse("again", []byte(text.YAML)); err != nil || c.Policy.Rules[0].Name != "rule 9" {
		t.Errorf("effective configuration: %v in\n%s", err, text.YAML)
	}
	r.Stop()
}

// TestReloadIsRefused: who asked is told every problem with its place, and nothing changes.
func TestReloadIsRefused(t *testing.T) {
	ns := testkit.Namespace(t)
	r := newReloadable(t, ns, "run", oneport)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	first := strings.Count(r.base, "\n") + 1
	place := func(line, column int, text string) string {
		return fmt.Sprintf("%s:%d:%d: %s", r.config, first+line, column, text)
	}
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"keys":     {"quques: {}\npolicy: {default: allow}\n", []string{place(0, 1, "quques: "), place(1, 19, "policy.default: ")}},
		"no YAML":  {"policy: [\n", []string{"not YAML"}},
		"restart":  {oneport + "policy: {default: drop}\nqueues: {first: 7}\nbackend: gonfqueue\n", []string{place(2, 17, "queues.first: changes with a restart only (systemctl restart verdictd)"), place(3, 10, "backend: ")}},
		"listener": {oneport + fmt.Sprintf("metrics: {listen: %q}\n", taken.Addr()), []string{place(1, 19, "metrics.listen: "), "in use"}},
		"several":  {oneport + fmt.Sprintf("metrics: {listen: %q}\nanalysis: {delay: 1s}\n", taken.Addr()), []string{place(2, 19, "analysis.delay: ")}},
	} {
		t.Run(name, func(t *testing.T) {
			answer := r.reload(test.text)
			var said []string
			for i := range answer.Problems {
				said = append(said, answer.Problems[i].Error())
			}
			if answer.Result != control.Refused {
				t.Errorf("%+v", answer)
			}
			for _, w := range test.want {
				if !strings.Contains(strings.Join(said, "\n"), w) {
					t.Errorf("problems %q lack %q", said, w)
				}
			}
			s := r.status()
			if s.State != control.Running || s.Reloads.Last.Result != control.Refused {
				t.Errorf("status: %+v", s)
			}
			if text, err := r.client.Effective(t.Context()); err != nil || !strings.Contains(text.YAML, "default: accept") {
				t.Errorf("in force: %+v, %v", text, err)
			}
		})
	}
	if err := os.Remove(r.config); err != nil {
		t.Fatal(err)
	}
	if answer, err := r.client.Reload(t.Context()); err != nil || answer.Result != control.Refused || !strings.Contains(answer.Error, "no such file") {
		t.Errorf("without the file: %+v, %v", answer, err)
	}
	r.Stop()
}

// TestReloadStorm: many ask at once, by signal and by socket, while the file is replaced
// and written in place; reloads come one after the other, and each is whole.
func TestReloadStorm(t *testing.T) {
	ns := testkit.Namespace(t)
	r := newReloadable(t, ns, "run", oneport)
	end := make(chan struct{})
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for {
				select {
				case <-end:
					return
				case <-time.After(time.Duration(i) * time.Millisecond):
				}
				if i == 0 {
					r.Signal(unix.SIGHUP)
					continue
				}
				answer, err := r.client.Reload(t.Context())
				if err != nil || answer.Error != "" {
					t.Errorf("reload: %+v, %v", answer, err)
					return
				}
				for _, p := range answer.Problems {
					if !strings.Contains(p.Text, "is empty") && !strings.Contains(p.Text, "changes while") && p.Key != "broken" {
						t.Errorf("problem: %+v", p)
					}
				}
			}
		})
	}
	for i := range 30 {
		text := oneport + fmt.Sprintf("policy: {rules: [{name: first %d, action: accept}, {name: last %d, action: drop}]}\n", i, i)
		switch i % 3 {
		case 0:
			r.write(text)
		case 1:
			if err := os.WriteFile(r.config, []byte(r.base+text), 0o600); err != nil {
				t.Error(err)
			}
		default:
			r.write("broken: true\n")
		}
		time.Sleep(5 * time.Millisecond)
	}
	close(end)
	group.Wait()
	if answer := r.reload(oneport + "policy: {default: drop}\n"); answer.Result == control.Refused {
		t.Errorf("%+v", answer)
	}
	if s := r.status(); s.Reloads.Done == 0 || s.State != control.Running {
		t.Errorf("%+v", s)
	}
	r.Stop()
}

// TestReloadDuringTheStop: it is refused, or done before, and the stop is as ever.
func TestReloadDuringTheStop(t *testing.T) {
	ns := testkit.Namespace(t)
	r := newReloadable(t, ns, "run", oneport)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				if _, err := r.client.Reload(t.Context()); err != nil {
					return // it is stopping, or has
				}
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	r.Signal(unix.SIGHUP)
	r.Stop()
	group.Wait()
	if tables := childtest.Shell(t, ns, "nft list tables"); strings.Contains(tables, "verdictd") {
		t.Errorf("it left %q", tables)
	}
}

// TestReloadDoors: listeners go and come.
func TestReloadDoors(t *testing.T) {
	ns := testkit.Namespace(t)
	r := newReloadable(t, ns, "run", oneport)
	served := func(port string) bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+port) // on this thread, which is in the namespace
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}
	for _, port := range []string{"9470", "9471", "9471", ""} {
		text := oneport
		if port != "" {
			text += fmt.Sprintf("metrics: {listen: \"127.0.0.1:%s\"}\n", port)
		}
		if answer := r.reload(text); answer.Result == control.Refused {
			t.Fatalf("%+v", answer)
		}
		for _, p := range []string{"9470", "9471"} {
			if served(p) != (p == port) {
				t.Errorf("with %q: port %s is served: %v", port, p, served(p))
			}
		}
	}
	before := r.client.Path()
	r.client = control.NewClient(before + "2")
	r.base = strings.Replace(r.base, before, r.client.Path(), 1)
	r.write(oneport)
	if answer, err := control.NewClient(before).Reload(t.Context()); err != nil || answer.Result != control.Done {
		t.Fatalf("%+v, %v", answer, err)
	}
	if s := r.status(); s.PID != r.Cmd.Process.Pid {
		t.Errorf("%+v", s)
	}
	eventually(t, "end of the socket before", func() bool { _, err := os.Stat(before); return err != nil })
	r.Stop()
}
