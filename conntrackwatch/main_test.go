package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/kernel/kerneltest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

// result is what a command did.
type result struct {
	status         int
	stdout, stderr string
}

// watch runs a command in the thread's namespace, makes flows there once the command says that it is ready, and
// stops it then.
func watch(t *testing.T, flows int, args ...string) result {
	t.Helper()
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = notify.Close() }()
	if err := notify.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", notify.LocalAddr().String())
	// Opened here, since another goroutine's thread is not in the namespace.
	sender, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sender.Close() }()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := make(chan string, 1)
	go func() {
		defer cancel()
		b := make([]byte, 64)
		n, err := notify.Read(b)
		if err != nil {
			ready <- err.Error()
			return
		}
		ready <- string(b[:n])
		for i := range flows {
			_, _ = sender.WriteToUDP([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 20000 + i}) // a flow that is not made is missed by the test
		}
	}()
	var stdout, stderr bytes.Buffer
	status := run(ctx, args, output{&stdout, &stderr})
	if state := <-ready; state != "READY=1" {
		t.Errorf("%v notified %q, want READY=1", args, state)
	}
	return result{status, stdout.String(), stderr.String()}
}

func TestEventsJSON(t *testing.T) {
	kerneltest.Namespace(t)
	const flows = 100
	got := watch(t, flows, "events", "--json")
	if got.status != cli.Done {
		t.Fatalf("status %d, stderr %q", got.status, got.stderr)
	}
	if !strings.Contains(got.stderr, "exposure") {
		t.Errorf("stderr %q does not warn that listening takes part in the exposure", got.stderr)
	}
	var r struct {
		Schema        int
		Version       string
		Seconds       float64
		ReceiveBuffer int `json:"receive_buffer"`
		Total         map[string]uint64
		Protocols     map[string]map[string]uint64
		Lost          *uint64
	}
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatalf("%s: %v", got.stdout, err)
	}
	if r.Schema != 1 || r.Version != version || r.Seconds <= 0 || r.ReceiveBuffer <= 0 {
		t.Errorf("schema %d, version %q, %v seconds, buffer %d", r.Schema, r.Version, r.Seconds, r.ReceiveBuffer)
	}
	if r.Total["new"] != flows || r.Protocols["udp"]["new"] != flows || r.Lost == nil || *r.Lost != 0 {
		t.Errorf("%s: want %d new, all of them udp, and no loss", got.stdout, flows)
	}
}

func TestEventsText(t *testing.T) {
	kerneltest.Namespace(t)
	got := watch(t, 100, "events")
	if got.status != cli.Done || !regexp.MustCompile(`(?m)^ +udp +100 +0 +0$`).MatchString(got.stdout) {
		t.Errorf("status %d, want a row of 100 new udp entries:\n%s", got.status, got.stdout)
	}
	if !strings.Contains(got.stdout, "no event was lost") {
		t.Errorf("says nothing of losses:\n%s", got.stdout)
	}
}

func TestDurationEndsIt(t *testing.T) {
	kerneltest.Namespace(t)
	for _, command := range []string{"stats", "events"} {
		var stdout, stderr bytes.Buffer
		start := time.Now()
		status := run(t.Context(), []string{command, "--duration", "100ms"}, output{&stdout, &stderr})
		if took := time.Since(start); status != cli.Done || took < 100*time.Millisecond || took > 5*time.Second {
			t.Errorf("%s: status %d after %v, want 0 after 100ms; stderr %q", command, status, took, stderr.String())
		}
	}
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"trace"}, {"stats", "--duration", "-1s"}, {"stats", "--duration", "5"}, {"events", "--receive-buffer=-1"}, {"stats", "--listen"},
		{"stats", "--interval=-1s"}, {"stats", "--once", "--duration", "1s"}, {"stats", "--once", "--interval", "1s"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), args, output{&stdout, &stderr}); status != cli.Usage || stderr.Len() == 0 || stdout.Len() != 0 {
			t.Errorf("%q: status %d, stdout %q, stderr %q; want status 2 and the reason on stderr",
				args, status, stdout.String(), stderr.String())
		}
	}
}
