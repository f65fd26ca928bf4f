//go:build !race

package engine

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// replayVariable has this test's child replay a batch: the case, and how often.
const replayVariable = "VERDICTD_REPLAY"

// instructionsFile has the instructions a packet of each case, by architecture and Go's version.
const instructionsFile = "testdata/instructions"

const ofBatch = 32 // packets, as each instruction takes the tracer some microseconds

func instructionCases(t *testing.T) map[string]func(*Config) {
	return map[string]func(*Config){
		"accept": func(*Config) {},
		"drop":   func(c *Config) { c.Policy = compiled(t, vocabulary.Drop) },
		"ports":  func(c *Config) { c.Policy = dropPort(t, 9) },
	}
}

// TestInstructions: the worker's own part of a packet takes no more instructions than was written down, by three in a
// hundred. No load of the machine changes their number; another version of Go does, and another architecture.
// VERDICTD_WRITE_INSTRUCTIONS=1 writes them down (make instructions).
func TestInstructions(t *testing.T) {
	if what := os.Getenv(replayVariable); what != "" {
		replayBatches(t, what)
	}
	const few, more, tries, tolerance = 1, 2, 4, 1.03
	known := readInstructions(t)
	renew := os.Getenv("VERDICTD_WRITE_INSTRUCTIONS") != ""
	for _, name := range []string{"accept", "drop", "ports"} {
		key := fmt.Sprintf("%s %s %s", runtime.GOARCH, runtime.Version(), name)
		want, ok := known[key]
		if !ok && !renew {
			t.Skipf("%s is not in %s: make instructions writes it down", key, instructionsFile)
		}
		// Go's scheduler adds some now and then, and never takes any away: the fewest count.
		least := map[int]int{}
		each := 0.0
		for i := 0; i < tries && (i == 0 || renew || each > tolerance*want); i++ {
			for _, times := range []int{few, more} {
				n := instructionsOf(t, name, times)
				if least[times] == 0 || n < least[times] {
					least[times] = n
				}
			}
			each = float64(least[more]-least[few]) / (more - few) / ofBatch
		}
		switch {
		case renew:
			known[key] = each
		case each > tolerance*want:
			t.Errorf("%s: %.1f instructions a packet, and %.1f are written down. If that is worth it: make instructions",
				name, each, want)
		case each < want/tolerance:
			t.Logf("%s: %.1f instructions a packet, fewer than the %.1f that are written down: make instructions", name,
				each, want)
		}
	}
	if renew {
		writeInstructions(t, known)
	}
}

// replayBatches is the child's part: it prepares all, says which thread it is, waits in a system call of which Go's
// scheduler knows nothing, judges, and is gone.
func replayBatches(t *testing.T, what string) {
	name, number, _ := strings.Cut(what, " ")
	times, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Queues: 1, Open: func(nfq.Config) (nfq.Queue, error) { return &nullQueue{}, nil }}
	instructionCases(t)[name](&cfg)
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	batch := &nfq.Batch{Packets: make([]nfq.Packet, ofBatch)}
	for i := range batch.Packets {
		batch.Packets[i] = nfq.Packet{Payload: udp(uint16(1000+i), 0)}
	}
	worker := e.workers[0]
	for range 100 {
		batch.Received = nfq.Now()
		if err := worker.handle(batch); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	debug.SetGCPercent(-1)
	runtime.Gosched()
	fmt.Printf("thread %d\n", unix.Gettid())
	var released [1]byte
	_, _, _ = unix.RawSyscall(unix.SYS_READ, 0, uintptr(unsafe.Pointer(&released)), 1)
	failed := 0
	for range times {
		batch.Received = nfq.Now()
		if worker.handle(batch) != nil {
			failed = 1
		}
	}
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(failed), 0, 0)
}

// instructionsOf is how many a child takes to judge so many batches, and to begin and end. A child whose threads were
// stopped while one of them held what the other wants is tried once more.
func instructionsOf(t *testing.T, name string, times int) int {
	t.Helper()
	const tries = 5
	for range tries {
		if n, ok := tryInstructions(t, name, times); ok {
			return n
		}
	}
	t.Fatalf("%d children stood still", tries)
	return 0
}

func tryInstructions(t *testing.T, name string, times int) (n int, ok bool) {
	t.Helper()
	const within = 15 * time.Second
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestInstructions$")
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", replayVariable, name, times), "GOMAXPROCS=1",
		"GODEBUG=asyncpreemptoff=1")
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	thread := 0
	lines := bufio.NewScanner(stdout)
	for thread == 0 && lines.Scan() {
		_, _ = fmt.Sscanf(lines.Text(), "thread %d", &thread)
	}
	if thread == 0 {
		t.Fatalf("the child did not say its thread: %v", child.Wait())
	}
	traced := testkit.Trace(t, child.Process.Pid)
	if _, err := stdin.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	n, ok = traced.Instructions(thread, within)
	_ = child.Wait() // the tracer has seen its end
	return n, ok
}

func readInstructions(t *testing.T) map[string]float64 {
	t.Helper()
	text, err := os.ReadFile(instructionsFile)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 4 {
			t.Fatalf("%s: %q", instructionsFile, line)
		}
		if known[strings.Join(fields[:3], " ")], err = strconv.ParseFloat(fields[3], 64); err != nil {
			t.Fatal(err)
		}
	}
	return known
}

func writeInstructions(t *testing.T, known map[string]float64) {
	t.Helper()
	var lines []string
	for key, each := range known {
		lines = append(lines, fmt.Sprintf("%s %.1f\n", key, each))
	}
	slices.Sort(lines)
	if err := os.WriteFile(instructionsFile, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
}
