package trace

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// Method is how programs are attached to a function.
type Method string

// The methods.
const (
	Fentry Method = "fentry"
	Kprobe Method = "kprobe"
)

// DefaultBuffer holds some 14,000 clashes that wait to be read.
const DefaultBuffer = 4 << 20

// Config says what to trace. The zero value traces the whole machine by whatever works.
type Config struct {
	Netns    uint32 // inode of the only network namespace to trace; 0: all
	Buffer   int    // bytes for clashes that wait to be read, a power of two and at least a page; 0: DefaultBuffer
	Method   Method // empty: Fentry, or else Kprobe
	Function string // nf_ct_resolve_clash or __nf_conntrack_confirm; empty: the first that works
}

// Validate says what is wrong with a configuration.
func (c Config) Validate() error {
	if c.Buffer != 0 && (c.Buffer < os.Getpagesize() || c.Buffer > 1<<30 || bits.OnesCount(uint(c.Buffer)) != 1) {
		return fmt.Errorf("a buffer of %d bytes is not possible: the kernel wants a power of two from %d up, and more than 1 GiB is not given",
			c.Buffer, os.Getpagesize())
	}
	if c.Method != "" && c.Method != Fentry && c.Method != Kprobe {
		return fmt.Errorf("method %q is neither %s nor %s", c.Method, Fentry, Kprobe)
	}
	if c.Function != "" && c.Function != resolver.function && c.Function != confirm.function {
		return fmt.Errorf("function %q is neither %s nor %s", c.Function, resolver.function, confirm.function)
	}
	return nil
}

// Probe is a function that is traced.
type Probe struct {
	Function string `json:"function"`
	Method   Method `json:"method"`
}

func (p Probe) String() string { return fmt.Sprintf("%s by %s", p.Function, p.Method) }

// Counts are those of the programs in the kernel.
type Counts struct {
	Clashes uint64 `json:"clashes"` // met, including the lost ones
	// Lost clashes found the buffer full.
	Lost uint64 `json:"lost"`
	// Unfinished calls began, and their end was not seen: a clash there is not counted.
	Unfinished uint64 `json:"unfinished"`
	// NoRoom calls were too many at a time: a clash there is not counted.
	NoRoom uint64 `json:"no_room"`
	// Missed runs of the programs were suppressed by the kernel, as one was running on the CPU already.
	Missed uint64 `json:"missed"`
}

// Complete says whether no clash can have been missed.
func (c Counts) Complete() bool { return c.Lost+c.Unfinished+c.NoRoom+c.Missed == 0 }

// Tracer delivers clashes. It is not safe for use by several goroutines.
type Tracer struct {
	types    *btf.Cache // the kernel's, which takes long to read: only while attaching
	maps     *ebpf.Collection
	programs []*ebpf.Program
	links    []link.Link
	reader   *ringbuf.Reader
	record   ringbuf.Record

	probes   []Probe
	unprobed error // why re-injections are not traced
	bootTime time.Time
}

// Open attaches the programs. Where the kernel refuses, the error is a [*Refused].
func Open(cfg Config) (_ *Tracer, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = DefaultBuffer
	}
	// Before 5.11 the kernel takes maps from RLIMIT_MEMLOCK. Where raising it is refused, making a map tells.
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})

	spec, err := loadSpec(cfg)
	if err != nil {
		return nil, err
	}
	t := &Tracer{}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if err := t.attach(cfg, spec); err != nil {
		return nil, err
	}
	t.types = nil
	if t.reader, err = ringbuf.NewReader(t.maps.Maps["clashes"]); err != nil {
		return nil, fmt.Errorf("read the trace's buffer: %w", err)
	}
	if t.bootTime, err = monotonicZero(); err != nil {
		return nil, err
	}
	return t, nil
}

// monotonicZero is the time at which the kernel's monotonic clock began, as the real-time clock has it now.
func monotonicZero() (time.Time, error) {
	var monotonic unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &monotonic); err != nil {
		return time.Time{}, fmt.Errorf("read the monotonic clock: %w", err)
	}
	return time.Now().Round(0).Add(-time.Duration(monotonic.Nano())), nil
}

// Probes are the functions that are traced.
func (t *Tracer) Probes() []Probe { return t.probes }

// WithoutReinjection says why re-injections are not traced; nil where they are.
func (t *Tracer) WithoutReinjection() error { return t.unprobed }

// Read waits for the next clash. Once ctx has ended, the programs are detached; Read then returns what they have left
// and at last the context's error.
func (t *Tracer) Read(ctx context.Context) (Clash, error) {
	stop := context.AfterFunc(ctx, func() { _ = t.reader.Flush() }) // fails when closed, which ends Read as well
	defer stop()
	for {
		if ctx.Err() != nil && len(t.links) > 0 {
			if err := t.detach(); err != nil {
				return Clash{}, err
			}
		}
		err := t.reader.ReadInto(&t.record)
		switch {
		case errors.Is(err, ringbuf.ErrFlushed) && len(t.links) == 0:
			return Clash{}, context.Cause(ctx)
		case errors.Is(err, ringbuf.ErrFlushed):
			// What came until the programs are detached is to be read, too.
			if err := t.detach(); err != nil {
				return Clash{}, err
			}
			if err := t.reader.Flush(); err != nil {
				return Clash{}, fmt.Errorf("read the rest of the trace's buffer: %w", err)
			}
			continue
		case err != nil:
			return Clash{}, fmt.Errorf("read the trace's buffer: %w", err)
		}
		return decode(t.record.RawSample, func(ns uint64) time.Time { return t.bootTime.Add(time.Duration(ns)) })
	}
}

// Counts reads the programs' counters.
func (t *Tracer) Counts() (Counts, error) {
	var sums [4]uint64
	for i := range sums {
		var perCPU []uint64
		if err := t.maps.Maps["counts"].Lookup(uint32(i), &perCPU); err != nil {
			return Counts{}, fmt.Errorf("read the trace's counters: %w", err)
		}
		for _, n := range perCPU {
			sums[i] += n
		}
	}
	c := Counts{Clashes: sums[0], Lost: sums[1], Unfinished: sums[2], NoRoom: sums[3]}
	for _, p := range t.programs {
		// Not told before 5.12. Kprobes do not count here.
		if stats, err := p.Stats(); err == nil {
			c.Missed += stats.RecursionMisses
		}
	}
	return c, nil
}

// detach ends the trace; what is in the buffer stays.
func (t *Tracer) detach() error {
	var errs []error
	for _, l := range t.links {
		errs = append(errs, l.Close())
	}
	t.links = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("detach the trace's programs: %w", err)
	}
	return nil
}

// Close detaches and frees everything.
func (t *Tracer) Close() error {
	errs := []error{t.detach()}
	if t.reader != nil {
		errs = append(errs, t.reader.Close())
		t.reader = nil
	}
	for _, p := range t.programs {
		errs = append(errs, p.Close())
	}
	t.programs = nil
	if t.maps != nil {
		t.maps.Close()
		t.maps = nil
	}
	return errors.Join(errs...)
}
