package service

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
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
	// What is sent after the answer is judged again.
	r.done(policy("drop"))
	write(t, from, "x")
	if err := to.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a packet of a flow that is dropped since the reload: %v", err)
	}
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
	followed(t, from, to, block)
	r.Stop()
	if files, _ := filepath.Glob(filepath.Join(samples, "*.pcapng")); len(files) == 0 {
		t.Error("there are no samples")
	}
}

// followed has a set block the port and not, by its file, and looks how soon that takes hold.
func followed(t *testing.T, from, to *net.UDPConn, block func(entries string)) {
	t.Helper()
	// A set's file is looked at four times a second. The machine may do something else for a while, but not each time.
	var took []time.Duration
	for range 3 {
		for _, blocked := range []bool{true, false} {
			began := time.Now()
			block(map[bool]string{true: fmt.Sprintf("%d\n", port), false: "1\n"}[blocked])
			arrives(t, from, to, !blocked)
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	t.Logf("changes of a set took hold within %v", took)
	if took[len(took)/2] > time.Second {
		t.Errorf("changes of a set take hold within %v, want most of them within a second", took)
	}
}
