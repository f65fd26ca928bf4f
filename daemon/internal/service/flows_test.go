package service

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"verdictd/internal/testkit"
)

// arrives sends packets until one arrives, or one is lost.
func arrives(t *testing.T, from, at *net.UDPConn, want bool) {
	t.Helper()
	b := make([]byte, 64)
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); {
		_, err := from.Write([]byte("x"))
		if err != nil && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EPERM) {
			t.Fatal(err)
		}
		if err := at.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, err = at.Read(b)
		if got := err == nil; got == want {
			return
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	t.Errorf("that packets arrive is %v all the time", !want)
}

// flowPolicy judges flows, with a folder for samples, a set's file, a port and its action.
const flowPolicy = `
guard: {mode: "off"}
rules: {placement: output, protocols: [udp, tcp]}
policy:
  flow: true
  samples: {directory: %q}
  sets: [{name: blocked, type: ports, file: %q}]
  rules:
    - {name: blocked, destination_ports: ["@blocked"], action: drop}
    - {name: others, destination_ports: ["%d"], action: %s, sample: 10}
`

// A flow that is judged once costs the daemon one packet of thousands; a reload and another
// entry in a set have it judged again; what is rejected is told.
func TestFlowVerdicts(t *testing.T) {
	ns := testkit.Namespace(t)
	set := filepath.Join(t.TempDir(), "ports")
	samples := t.TempDir()
	block := func(entries string) {
		t.Helper()
		if err := os.WriteFile(set+".new", []byte(entries), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(set+".new", set); err != nil {
			t.Fatal(err)
		}
	}
	block("1\n")
	policy := func(action string) string {
		return fmt.Sprintf(flowPolicy, samples, set, port, action)
	}
	r := newReloadable(t, ns, "run", policy("accept"))
	to := listen(t, ns, loopback4)
	from := dial(t, ns, loopback4)
	const packets = 3_000
	for range packets {
		write(t, from, "x")
		if err := to.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := to.Read(make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.status().Statistics.Total.Received; n == 0 || n > 8 {
		t.Errorf("%d of %d packets came to the daemon, want 8 at most", n, packets)
	}
	r.done(policy("drop"))
	arrives(t, from, to, false)
	r.done(policy("reject"))
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := from.Write([]byte("x")); errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if time.Now().After(until) {
			t.Fatal("the sender of a rejected packet is not told")
		}
	}
	r.done(policy("accept"))
	arrives(t, from, to, true)
	block(fmt.Sprintf("%d\n", port))
	arrives(t, from, to, false)
	block("1\n")
	arrives(t, from, to, true)
	r.Stop()
	if files, _ := filepath.Glob(filepath.Join(samples, "*.pcapng")); len(files) == 0 {
		t.Error("there are no samples")
	}
}
