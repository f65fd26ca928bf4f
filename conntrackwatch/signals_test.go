package main

import (
	"bytes"
	"os"
	"os/signal"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
)

// told is a writer that several goroutines use.
type told struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (w *told) Write(b []byte) (int, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.text.Write(b)
}

func (w *told) has(what string) bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return strings.Contains(w.text.String(), what)
}

func tell(t *testing.T, which unix.Signal) {
	t.Helper()
	if err := unix.Kill(os.Getpid(), which); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("not " + what)
		}
	}
}

// Signals end the program in order, or do something else: none kills it.
func TestSignals(t *testing.T) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP) // not ignored from here on, as where the tests themselves run under nohup
	defer signal.Stop(hangups)
	for _, test := range []struct {
		which          unix.Signal
		terminal, ends bool
		said           string
	}{
		{unix.SIGTERM, false, true, ""}, {unix.SIGINT, true, true, ""}, {unix.SIGQUIT, false, true, "goroutine "},
		{unix.SIGHUP, true, true, ""}, {unix.SIGHUP, false, false, ""}, {unix.SIGUSR1, false, false, ""},
	} {
		remarks := &told{}
		ctx, s, stop := catch(t.Context(), remarks, test.terminal)
		tell(t, test.which)
		if test.ends {
			await(t, "ended", func() bool { return ctx.Err() != nil })
		}
		if test.which == unix.SIGUSR1 {
			await(t, "asked to write", func() bool { return len(s.write) == 1 })
		}
		if !test.ends {
			time.Sleep(20 * time.Millisecond)
			if ctx.Err() != nil {
				t.Errorf("%v ends it", test.which)
			}
		}
		if !remarks.has(test.said) {
			t.Errorf("%v: %q is not said", test.which, test.said)
		}
		stop()
	}
}

// stats writes what it has counted at USR1, and goes on.
func TestWriteAtSignal(t *testing.T) {
	ns := testkit.Namespace(t)
	results := &told{}
	ctx, s, stop := catch(t.Context(), &told{}, false)
	defer stop()
	ended := make(chan int, 1)
	go func() {
		ended <- runWith(ctx, s, []string{"stats", "--json", "--netns", ns.Path()}, output{results, &told{}})
	}()
	await(t, "written", func() bool {
		tell(t, unix.SIGUSR1)
		return results.has(`"schema"`)
	})
	select {
	case status := <-ended:
		t.Fatalf("it has ended with %d", status)
	case <-time.After(20 * time.Millisecond):
	}
	tell(t, unix.SIGTERM)
	if status := <-ended; status != 0 {
		t.Errorf("status %d", status)
	}
}
