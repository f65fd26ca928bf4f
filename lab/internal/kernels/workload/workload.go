package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"verdictd/internal/ct"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/lab/internal/matrix"
	"verdictd/lab/internal/testbed"
)

// A Workload is one row of the matrix in a virtual machine whose kernel may break at any time: what is known goes to
// stdout line by line, the result to a file at the end.
type Workload struct {
	Placement, Fanout, Guard, Program, Events string
	Flows, Burst                              int
	Interval                                  time.Duration // between two lines
	Out                                       string        // the file
}

// mark is the line in the kernel's log from which its time counts.
const mark = "lab: sending begins"

// Result is what the machine leaves.
type Result struct {
	Schema  int        `json:"schema"`
	Release string     `json:"release"`
	KASAN   bool       `json:"kasan"` // the kernel has it
	Run     report.Run `json:"run"`
}

// A sample is how far the row is: a line on stdout. Entries is how many flows conntrack knows.
type sample struct {
	Release      string  `json:"release"`
	KASAN        bool    `json:"kasan"`
	Seconds      float64 `json:"seconds"`
	Entries      uint64  `json:"entries"`
	ClashResolve *uint64 `json:"clash_resolve"`
}

// Run runs it, with its lines on stdout.
func (c *Workload) Run(ctx context.Context, stdout, stderr io.Writer) error {
	if err := makeRoom(c.Flows); err != nil {
		return err
	}
	release, err := kernelfacts.Release()
	if err != nil {
		return err
	}
	result := Result{Schema: 1, Release: release}
	if result.KASAN, err = hasKASAN(); err != nil {
		return err
	}
	p, err := testbed.FindPrograms("")
	if err != nil {
		return err
	}
	row := matrix.GuestRow{
		Placement: c.Placement, Fanout: c.Fanout, Guard: c.Guard, Program: c.Program, Events: c.Events, Flows: c.Flows,
		Burst: c.Burst,
	}
	lines := json.NewEncoder(stdout)
	row.Sending = func(t *netlab.Topology) func() {
		if err := markKernelLog(mark); err != nil {
			fmt.Fprintf(stderr, "lab: %v\n", err) // the report's time is then not known; the rest is
		}
		return sampleClashes(t.Queue, c.Interval, func(s sample) {
			s.Release, s.KASAN = result.Release, result.KASAN
			_ = lines.Encode(s) // as above
		})
	}
	if result.Run, err = row.Run(ctx, p); err != nil {
		return err
	}
	text, err := report.Encode(result)
	if err == nil {
		err = os.WriteFile(c.Out, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the row's result: %w", err)
	}
	return nil
}

// makeRoom lets conntrack hold all flows: a small machine has a small table, which would drop packets for that alone,
// or as one of its chains is too long.
func makeRoom(flows int) error {
	for name, n := range map[string]int{"nf_conntrack_max": 8*flows + 1<<16, "nf_conntrack_buckets": 4*flows + 1<<14} {
		if err := os.WriteFile("/proc/sys/net/netfilter/"+name, []byte(strconv.Itoa(n)), 0); err != nil {
			return fmt.Errorf("give conntrack room for %d flows: %w", flows, err)
		}
	}
	return nil
}

// hasKASAN looks for a function that only such kernels have.
func hasKASAN() (bool, error) {
	symbols, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		return false, fmt.Errorf("find out whether the kernel has KASAN: %w", err)
	}
	return bytes.Contains(symbols, []byte(" kasan_report\n")), nil
}

// markKernelLog writes a line that stands in the console among the kernel's own, with the same clock.
func markKernelLog(line string) error {
	if err := os.WriteFile("/dev/kmsg", []byte("<4>"+line+"\n"), 0); err != nil {
		return fmt.Errorf("write to the kernel's log: %w", err)
	}
	return nil
}

// sampleClashes tells what conntrack counts in a namespace until stop is called.
func sampleClashes(ns *netlab.NetNS, interval time.Duration, tell func(sample)) (stop func()) {
	var conn *ct.Conn
	err := ns.Do(func() (err error) { conn, err = ct.Dial(); return err })
	if err != nil {
		return func() {}
	}
	begun, ended := time.Now(), make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			s, err := conn.Snapshot()
			if err != nil {
				return // the final figures come from the programs
			}
			sample := sample{Seconds: time.Since(begun).Seconds(), Entries: s.Table.Entries.N}
			if c := s.Total()[ct.ClashResolve]; c.Sent {
				sample.ClashResolve = &c.N
			}
			tell(sample)
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	})
	return sync.OnceFunc(func() {
		close(ended)
		done.Wait()
		_ = conn.Close() // it only read
	})
}
