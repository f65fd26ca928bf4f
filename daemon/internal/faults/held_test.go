package faults

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/daemon/internal/names/hello/tlsclient"
)

// waitsForNames holds what may be a part of a hello for a time that is shorter than the stop.
const waitsForNames = `
guard: {mode: "off"}
rules: {placement: output, protocols: [tcp, udp], destination_ports: [443, 5300]}
control: {socket: ""}
policy:
  names: {time: 300ms}
  rules: [{action: drop, tls: {names: [blocked.example]}, pending: hold}]
`

// TestStandsStillOverAHello: the rest of a hello comes while the daemon is stopped, behind packets of others, for
// longer than the first part may be held. The name is what counts, as the rest was there when that part was looked at
// again.
func TestStandsStillOverAHello(t *testing.T) {
	const others = 200
	e := twoEnds(t)
	c := childtest.Daemon(t, e.near, waitsForNames)
	if n := e.say(c, "allowed.example", 0); n == 0 {
		t.Error("a hello for another name did not arrive")
	}
	if n := e.say(c, "blocked.example", others); n != 0 {
		t.Errorf("%d bytes of a hello for a blocked name arrived", n)
	}
	if n := e.receive(others); n != others {
		t.Errorf("%d of %d packets of others arrived", n, others)
	}
	c.Stop()
	leavesNothing(t, e.near)
}

// say sends a hello in two parts, the second one after so many other packets while the daemon stands still, and returns
// how many bytes of it arrived.
func (e *ends) say(c *childtest.Child, name string, others int) (arrived int) {
	e.Helper()
	hello, err := tlsclient.Hello(&tls.Config{ServerName: name})
	if err != nil {
		e.Fatal(err)
	}
	client, server := e.connected()
	const part, still = 500, time.Second
	e.write(client, hello[:part])
	e.held(1)
	c.Signal(unix.SIGSTOP)
	e.send(others / burst)
	e.write(client, hello[part:])
	time.Sleep(still)
	c.Signal(unix.SIGCONT)
	if err := server.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		e.Fatal(err)
	}
	arrived, err = server.Read(make([]byte, len(hello)))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		e.Error(err)
	}
	return arrived
}

// connected is a TCP connection from the near end to the far one.
func (e *ends) connected() (client, server net.Conn) {
	e.Helper()
	var listener net.Listener
	for _, end := range []func() error{
		func() error {
			return e.far.Do(func() (err error) { listener, err = net.Listen("tcp4", ":443"); return err })
		},
		func() error {
			return e.near.Do(func() (err error) { client, err = net.Dial("tcp4", farAddress+":443"); return err })
		},
		func() (err error) { server, err = listener.Accept(); return err },
		func() error { return listener.Close() },
	} {
		if err := end(); err != nil {
			e.Fatal(err)
		}
	}
	e.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

func (e *ends) write(conn net.Conn, b []byte) {
	e.Helper()
	if _, err := conn.Write(b); err != nil {
		e.Fatal(err)
	}
}

// held waits until so many packets are without a verdict.
func (e *ends) held(n uint32) {
	e.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		list := queues(e, e.near)
		if len(list) == 1 && list[0].Queued == n {
			return
		}
		if time.Now().After(deadline) {
			e.Fatalf("%+v, want %d packets held", list, n)
		}
	}
}
