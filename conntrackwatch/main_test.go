package main

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// result is what a command did.
type result struct {
	status         int
	stdout, stderr string
}

// watch runs a command in the thread's namespace, makes flows there once the command says that it is ready, and
// stops it then.
func watch(t *testing.T, flows int, args ...string) result {
	t.Helper()
	// Opened here, since another goroutine's thread is not in the namespace.
	sender, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sender.Close() }()
	return during(t, func() {
		for i := range flows {
			_, _ = sender.WriteToUDP([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 20000 + i}) // a flow that is not made is missed by the test
		}
	}, args...)
}

// during runs a command in the thread's namespace and stops it when f, called once it is ready, has returned.
func during(t *testing.T, f func(), args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := runDuring(t, f, output{&stdout, &stderr}, args...)
	return result{status, stdout.String(), stderr.String()}
}

func runDuring(t *testing.T, f func(), out output, args ...string) (status int) {
	t.Helper()
	notify, err := net.ListenUnixgram("unixgram",
		&net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = notify.Close() }()
	if err := notify.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", notify.LocalAddr().String())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		b := make([]byte, 64)
		n, err := notify.Read(b)
		if state := string(b[:n]); err != nil || state != "READY=1" {
			t.Errorf("%v notified %q, %v; want READY=1", args, state, err)
			return
		}
		f()
	}()
	status = run(ctx, args, out)
	<-done
	return status
}

func TestDurationEndsIt(t *testing.T) {
	testkit.Namespace(t)
	for _, command := range []string{"stats", "events", "live"} {
		var stdout, stderr bytes.Buffer
		start := time.Now()
		status := run(t.Context(), []string{command, "--duration", "100ms"}, output{&stdout, &stderr})
		if took := time.Since(start); status != cli.Done || took < 100*time.Millisecond || took > 20*time.Second {
			t.Errorf("%s: status %d after %v, want 0 after 100ms; stderr %q", command, status, took, stderr.String())
		}
	}
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"nosuch"}, {"stats", "--duration", "-1s"}, {"stats", "--duration", "5"}, {"events", "--receive-buffer=-1"},
		{"stats", "--listen"},
		{"events", "--format", "xml"}, {"events", "--format", "csv", "--count"}, {"events", "--format", "json", "--json"},
		{"events", "--interval", "1s"},
		{"events", "--type", "old"}, {"events", "--protocol", "256"}, {"events", "--family", "ipv5"},
		{"events", "--zone", "70000"}, {"events", "--mark", "3/1"},
		{"events", "--mark", "x"}, {"events", "--flows", "0"},
		{"events", "--receive-buffer", "2", "--max-receive-buffer", "1"},
		{"stats", "--interval=-1s"}, {"stats", "--once", "--duration", "1s"}, {"stats", "--once", "--interval", "1s"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), args, output{&stdout, &stderr}); status != cli.Usage || stderr.Len() == 0 ||
			stdout.Len() != 0 {
			t.Errorf("%q: status %d, stdout %q, stderr %q; want status 64 and the reason on stderr",
				args, status, stdout.String(), stderr.String())
		}
	}
}

func TestAllFlags(t *testing.T) {
	testkit.Commands(t, func(args ...string) (int, string) {
		got := command(t.Context(), args...)
		return got.status, got.stdout + got.stderr
	})
}
