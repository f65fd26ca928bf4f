package language

import (
	"net"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/daemon/internal/control"
	"verdictd/internal/testkit"
)

// counting serves a port and tells how much of each connection came.
type counting struct {
	mutex sync.Mutex
	bytes map[string]int // by the client's address
}

func counts(t *testing.T, port int) *counting {
	t.Helper()
	s := &counting{bytes: map[string]int{}}
	server(t, port, func(c net.Conn) {
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			s.mutex.Lock()
			s.bytes[c.RemoteAddr().String()] += n
			s.mutex.Unlock()
			if err != nil {
				return
			}
		}
	})
	return s
}

func (s *counting) of(c net.Conn) int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.bytes[c.LocalAddr().String()]
}

// TestHeldPacketsOutlive a reload and a daemon that is killed: with the reload they wait on, or are judged as without a
// name where the bounds of names change; with the daemon they are dropped and sent again, and nothing goes on unjudged.
func TestHeldPacketsOutlive(t *testing.T) {
	ns := testkit.Namespace(t)
	got := counts(t, 443)
	policy := func(names, more string) string {
		return "policy:\n  names: " + names + "\n  rules:\n" + more +
			"    - {name: blocked, tls: {names: [blocked.example]}, action: drop, pending: hold}\n" +
			"    - {name: unread, name_state: [too-long], action: count}\n"
	}
	d := prepared(t)
	d.write(policy("{time: 60s}", ""))
	d.Child = childtest.Service(t, ns, "supervise", "--", "run", "--config", d.dir+"/verdictd.yaml")
	hello, blocked := clientHello(t, "example.org"), clientHello(t, "blocked.example")
	begin := func(hello []byte) net.Conn {
		t.Helper()
		before := d.statistics().Total.Held
		c := dial(t, "tcp4", 443)
		say(t, c, hello[:400])
		await(t, "a held packet", func() bool { return d.statistics().Total.Held > before })
		return c
	}

	c, refused := begin(hello), begin(blocked)
	d.reload(policy("{time: 60s}", "    - {name: more, destination_ports: [80], action: accept}\n"))
	if n := d.statistics().Total.HeldOver; n != 0 || got.of(c)+got.of(refused) != 0 {
		t.Errorf("%d packets went on with the reload", n)
	}
	say(t, c, hello[400:])
	say(t, refused, blocked[400:])
	await(t, "the hello that waited", func() bool { return got.of(c) == len(hello) })
	await(t, "its drop", func() bool { return d.packets("blocked") > 0 })
	if n := got.of(refused); n != 0 {
		t.Errorf("%d bytes of a hello that is blocked came", n)
	}
	_ = refused.Close()

	c = begin(hello)
	d.reload(policy("{time: 50s}", ""))
	await(t, "what nobody puts together any more", func() bool { return got.of(c) == 400 })
	if d.statistics().Total.HeldOver == 0 || d.packets("unread") == 0 {
		t.Error("it went on unjudged")
	}

	c = begin(hello)
	d.kill()
	say(t, c, hello[400:])
	await(t, "all of it, sent again", func() bool { return got.of(c) == len(hello) })
	if n := d.statistics().Total.HeldLeft; n != 1 || d.packets("unread") == 0 {
		t.Errorf("%d packets were left by the daemon before, want 1", n)
	}
	refused = begin(blocked)
	say(t, refused, blocked[400:])
	await(t, "the drop by the next daemon", func() bool { return d.packets("blocked") > 0 })
	if n := got.of(refused); n != 0 {
		t.Errorf("%d bytes of a hello that is blocked came", n)
	}
	d.Signal(unix.SIGTERM)
	<-d.Done
}

// reload has a configuration applied.
func (d *daemon) reload(text string) {
	d.t.Helper()
	d.write(text)
	if answer, err := d.client.Reload(d.t.Context()); err != nil || answer.Result != control.Done {
		d.t.Fatalf("%+v, %v", answer, err)
	}
}

// kill kills the daemon, and waits for the next one.
func (d *daemon) kill() {
	d.t.Helper()
	status, err := d.client.Status(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	if err := unix.Kill(status.PID, unix.SIGKILL); err != nil {
		d.t.Fatal(err)
	}
	await(d.t, "the next daemon", func() bool {
		next, err := d.client.Status(d.t.Context())
		return err == nil && next.PID != status.PID && next.State == control.Running
	})
}

func say(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}
