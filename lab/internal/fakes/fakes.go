package fakes

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"

	"verdictd/internal/config"
	"verdictd/internal/statistics"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// The test binary plays the programs that the lab starts, under their names, so that their failures can be arranged.
const (
	// variable is set for fakes. Its value is a directory in which each leaves a file with its process number.
	variable = "LAB_TEST_FAKES"

	// MoodVariable, with a program's name appended, says how that one misbehaves.
	MoodVariable = "LAB_TEST_MOOD_"
)

// Install makes a directory with the programs in it, and one in which they say that they run.
func Install(t *testing.T) (bin, pids string) {
	t.Helper()
	testkit.Require(t)
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin, pids = t.TempDir(), t.TempDir()
	for _, name := range []string{"lab", "verdictd", "stress", "conntrackwatch"} {
		if err := os.Symlink(executable, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(variable, pids)
	// The race detector lets each program wait a second at its end.
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	// Every run's directory is made here, and has to be gone afterwards. The names of the test's own directories are
	// long, and a socket's path may not be.
	short, err := os.MkdirTemp("", "") //nolint:usetesting // for that reason
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(short); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", short)
	return bin, pids
}

// Playing says whether this process is a fake.
func Playing() bool { return os.Getenv(variable) != "" }

// Play is one program's life, and its exit status.
func Play(name string) int {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(name, "fake-1")
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	file := filepath.Join(os.Getenv(variable), fmt.Sprintf("%s-%d", name, os.Getpid()))
	if err := os.WriteFile(file, nil, 0o644); err != nil { //nolint:gosec // the test said where
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	mood := os.Getenv(MoodVariable + name)
	switch mood {
	case "fails":
		fmt.Fprintln(os.Stderr, "first line\nlast line")
		return 3
	case "hangs":
		time.Sleep(time.Hour)
	}
	switch name {
	case "verdictd":
		return fakeDaemon(ctx)
	case "conntrackwatch":
		return fakeWatch(ctx, mood)
	}
	return fakeStress()
}

// Statistics are what verdictd leaves of 40 packets in two queues, in which its gate has seen all that can happen.
func Statistics() *statistics.Document {
	d := &statistics.Document{
		Schema: statistics.Schema, Queues: []statistics.QueueVerdicts{{}, {}}, Total: &statistics.Totals{},
		Gate:         &statistics.Gate{},
		CPUPerPacket: 2.5, RSS: statistics.Memory{Start: 1, End: 2, Max: 3},
	}
	d.Queues[0].Received, d.Queues[1].Received = 25, 15
	d.Total.Received, d.Total.Accepted, d.Total.Latency = 40, 40, statistics.Spread{P50: 301.5, P99: 1200, Max: 1300}
	g := &d.Gate.Total
	g.Received, g.First, g.Held, g.Confirmed, g.Gone, g.Dropped, g.Expired, g.Unguarded, g.Listed = 15, 2, 6, 5, 1, 4,
		7, 8, 3
	g.FirstUS, g.HeldUS = statistics.Spread{P50: 1, P99: 2, Max: 3}, statistics.Spread{P50: 4, P99: 5, Max: 6}
	d.Gate.Queues = []statistics.GateThread{g.GateThread}
	return d
}

func fakeDaemon(ctx context.Context) int {
	cfg, err := config.Load(os.Args[3]) // run or guard --config FILE
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if _, err := daemon.SdNotify(false, "STATUS=soon"); err != nil {
		return 1
	}
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return 1
	}
	<-ctx.Done()
	d := Statistics()
	g := &d.Gate.Total
	g.Gone, g.Expired, g.Unguarded = 0, 0, 0 // or the row fails
	if cfg.Guard.Mode != vocabulary.GuardHold && cfg.Guard.Mode != vocabulary.GuardDrop {
		d.Gate = nil
	}
	document, err := json.Marshal(d)
	if err == nil {
		err = os.WriteFile(cfg.Statistics.File, document, 0o644) //nolint:gosec // likewise
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func fakeWatch(ctx context.Context, mood string) int {
	if mood == "ends" {
		return 0
	}
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return 1
	}
	<-ctx.Done()
	switch {
	case mood == "forgets":
		fmt.Println(`{"schema":1,"total":{"insert_failed":0,"drop":0}}`)
	case os.Args[1] == "events":
		fmt.Println(`{"schema":1,"total":{"new":10,"update":20,"destroy":0}}`)
	default:
		fmt.Println(`{"schema":1,"total":{"clash_resolve":0,"insert_failed":0,"drop":0,"chain_toolong":null}}`)
	}
	return 0
}

func fakeStress() int {
	if !strings.Contains(strings.Join(os.Args, " "), "--flows 10 --burst 4") {
		fmt.Fprintln(os.Stderr, "unexpected arguments:", os.Args)
		return 2
	}
	fmt.Println(`{"schema":1,"flows":10,"sent":40,"delivered":40,"lost":0,"duplicated":0,"reordered":0,"corrupted":0,"sources_changed":0,"received_from":[],"split":0,"send_errors":0,"seconds":0.1,"packets_per_second":400}`)
	return 0
}
