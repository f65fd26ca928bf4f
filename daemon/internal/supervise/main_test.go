package supervise

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/fdstore"
)

const (
	roleVariable   = "SUPERVISE_TEST_ROLE"
	folderVariable = "SUPERVISE_TEST_FOLDER"

	watchdogVariable = "SUPERVISE_TEST_WATCHDOG"
	startVariable    = "SUPERVISE_TEST_START"
	stopVariable     = "SUPERVISE_TEST_STOP"
	waitVariable     = "SUPERVISE_TEST_WAIT"
	// descriptorsVariable is how many more a supervisor may open than it has at its start.
	descriptorsVariable = "SUPERVISE_TEST_DESCRIPTORS"
)

// duration is a variable's value.
func duration(variable string, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(os.Getenv(variable)); err == nil {
		return d
	}
	return otherwise
}

// TestMain is also the supervisor and its daemons.
func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "supervisor":
		os.Exit(supervisorMain())
	case "daemon":
		os.Exit(daemonMain())
	}
	os.Exit(m.Run())
}

func supervisorMain() int {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	if program := os.Getenv("SUPERVISE_TEST_PROGRAM"); program != "" {
		self = program
	}
	if n, err := strconv.Atoi(os.Getenv(descriptorsVariable)); err == nil {
		leave(n)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	store, err := fdstore.Listen(filepath.Join(os.Getenv(folderVariable), "notify"), fdstore.DefaultSize)
	if err != nil {
		panic(err)
	}
	watchdog := duration(watchdogVariable, 0)
	_ = os.Setenv(roleVariable, "daemon")
	status, err := Run(Options{
		Program: self, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Store: store,
		// Only tests of the bounds have short ones: the machine may be busy.
		StartWithin: duration(startVariable, time.Minute), StopWithin: duration(stopVariable, time.Minute), Watchdog: watchdog,
		Failure: func(said string) (Failure, error) {
			wait, err := time.ParseDuration(said)
			return Failure{LongestWait: wait, Release: func(files []*os.File) error { note(fmt.Sprint("released ", len(files))); return nil }}, err
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return status
}

// leave has the process open so many descriptors more, whatever it was started with.
func leave(more int) {
	limit := uint64(0)
	for free := 0; free < more; limit++ {
		if _, err := unix.FcntlInt(uintptr(limit), unix.F_GETFD, 0); err != nil {
			free++
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		panic(err)
	}
}

// note writes a line into the stage's log.
func note(line string) {
	f, err := os.OpenFile(filepath.Join(os.Getenv(folderVariable), "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	if _, err := fmt.Fprintln(f, line); err != nil {
		panic(err)
	}
	_ = f.Close()
}

// daemonMain behaves as the stage's file says.
func daemonMain() int {
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, unix.SIGHUP, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	behaviour, err := os.ReadFile(filepath.Join(os.Getenv(folderVariable), "behaviour"))
	if err != nil {
		panic(err)
	}
	note(fmt.Sprint("start ", os.Getpid()))
	words := strings.Fields(string(behaviour))
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		switch word {
		case "exit":
			status, _ := strconv.Atoi(words[0])
			return status
		case "panic":
			note("panic")
			panic("a worker's thread")
		case "hang":
			time.Sleep(time.Hour)
		case "orphans":
			makeOrphans()
		case "held":
			received := fdstore.Received()
			b := make([]byte, 100)
			for _, f := range received {
				n, _ := f.ReadAt(b, 0)
				note(fmt.Sprintf("held %s", b[:n]))
			}
		case "hold":
			holdMemory(words[0])
			words = words[1:]
		case "ready":
			tell("READY=1", FailureKey+"="+duration(waitVariable, time.Minute).String())
			note(fmt.Sprint("ready ", os.Getpid()))
		}
	}
	for {
		select {
		case sig := <-signals:
			if strings.HasSuffix(strings.TrimSpace(string(behaviour)), "deaf") {
				continue
			}
			note("signal " + sig.String())
			if sig != unix.SIGHUP && sig != unix.SIGUSR1 {
				note("end")
				return 0
			}
		case <-time.After(20 * time.Millisecond):
			tell("WATCHDOG=1")
		}
	}
}

// holdMemory gives a memfd with a text to the supervisor.
func holdMemory(text string) {
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err == nil {
		_, err = unix.Write(fd, []byte(text))
	}
	if err != nil {
		panic(err)
	}
	store, err := fdstore.Open()
	if err == nil {
		err = store.Keep("memory", fd)
	}
	if err != nil {
		panic(err)
	}
}

// makeOrphans leaves processes to whoever inherits them, and ends them.
func makeOrphans() {
	out, err := exec.Command("/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 0.0$i >&- 2>&- & echo $!; done").Output()
	if err != nil {
		panic(err)
	}
	note("orphans " + strings.ReplaceAll(string(out), "\n", " "))
}

func tell(lines ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		return // the supervisor is gone
	}
}
