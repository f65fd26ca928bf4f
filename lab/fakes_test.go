package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"verdictd/internal/cli"
	"verdictd/internal/config"
	"verdictd/internal/report"
	"verdictd/internal/testkit"
)

// The test binary plays the programs that the lab starts, under their names, so that their failures can be arranged.
const (
	// fakesVariable is set for fakes. Its value is a directory in which each leaves a file with its process number.
	fakesVariable = "LAB_TEST_FAKES"

	// moodVariable, with a program's name appended, says how that one misbehaves.
	moodVariable = "LAB_TEST_MOOD_"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "reference" {
		main() // of the lab that is tested, which starts itself
	}
	if os.Getenv(fakesVariable) == "" {
		testkit.Main(m)
	}
	if how := os.Getenv(confineVariable); how != "" {
		fmt.Fprintln(os.Stderr, "confine the lab:", confine(how))
		os.Exit(cli.Usage)
	}
	name := filepath.Base(os.Args[0])
	if name == "lab" {
		main()
	}
	os.Exit(fake(name))
}

// fakes makes a directory with the programs in it, and one in which they say that they run.
func fakes(t *testing.T) (bin, pids string) {
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
	t.Setenv(fakesVariable, pids)
	// The race detector lets each program wait a second at its end.
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	// Every run's directory is made here, and has to be gone afterwards. The names of the test's own directories are long,
	// and a socket's path may not be.
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

// fake is one program's life.
func fake(name string) int {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(name, "fake-1")
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	file := filepath.Join(os.Getenv(fakesVariable), fmt.Sprintf("%s-%d", name, os.Getpid()))
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	mood := os.Getenv(moodVariable + name)
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
	gate := ""
	if cfg.Guard.Mode == report.GuardHold || cfg.Guard.Mode == report.GuardDrop {
		total := strings.NewReplacer(`"gone":1`, `"gone":0`, `"expired":7`, `"expired":0`, `"unguarded":8`, `"unguarded":0`).Replace(gateTotal)
		gate = fmt.Sprintf(`"gate":{"queues":[%[1]s],"total":%[1]s},`, total)
	}
	document := `{"schema":2,"queues":[{"queue":0,"received":25},{"queue":1,"received":15}],
		"total":{"received":40,"accepted":40,"dropped":0,"undecodable":0,"verdict_errors":0,"queue_dropped":0,"user_dropped":0,
		"verdict_latency_us":{"p50":301.5,"p99":1200,"max":1300}},` + gate + `"cpu_us_per_packet":2.5,"rss_kib":{"start":1,"end":2,"max":3}}`
	if err := os.WriteFile(cfg.Statistics.File, []byte(document), 0o644); err != nil {
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
