package procnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/results"
)

// message is a line that the working process writes.
type message struct {
	Alive  bool    `json:"alive,omitempty"` // still there
	Result *Result `json:"result,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// aliveEvery is how often the working process says that it is there.
const aliveEvery = 500 * time.Millisecond

// keptWrong bounds the readings that are described.
const keptWrong = 10

// renamed is the errno of a rename that succeeded.
const renamed = "none"

// Work is the working process. It reads a Config from its standard input, works until that ends or the time is over,
// and writes messages. Hold is the command of [Hold]. After a hang the caller has to end the process: some threads will
// not.
func Work(stdin io.Reader, stdout io.Writer, hold []string) error {
	out := json.NewEncoder(stdout)
	res, err := work(stdin, out, hold)
	m := message{Result: res}
	if err != nil {
		m = message{Error: err.Error()}
	}
	return out.Encode(m)
}

func work(stdin io.Reader, out *json.Encoder, hold []string) (*Result, error) {
	var cfg Config
	in := json.NewDecoder(stdin)
	if err := in.Decode(&cfg); err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	s, err := newStage(cfg.Namespaces, hold)
	if err != nil {
		return nil, err
	}
	stopped := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // until the other process closes it, or ends
		close(stopped)
	}()
	r := &runner{cfg: cfg, stage: s, views: map[string]uint64{}, readErrors: map[string]uint64{},
		renames: map[string]uint64{}}
	start := time.Now()
	r.start()
	hangs, interrupted := r.watch(start, out, stopped)
	r.stop.Store(true)
	if len(hangs) == 0 {
		hangs = r.finish(out)
	}
	res := r.result(start, hangs, interrupted)
	if len(hangs) > 0 {
		return res, nil // the namespaces go with the process
	}
	return res, s.close()
}

// runner is the workers and what they count.
type runner struct {
	cfg     Config
	stage   *stage
	workers []*worker
	wait    sync.WaitGroup
	stop    atomic.Bool

	mu         sync.Mutex
	views      map[string]uint64
	wrongViews uint64
	wrong      []Wrong
	readErrors map[string]uint64
	renames    map[string]uint64
	watches    uint64
	threads    uint64
}

func (r *runner) start() {
	for _, kind := range []struct {
		role string
		n    int
		step func(*worker, *rand.Rand)
	}{
		{"reader", r.cfg.Readers, r.read},
		{"renamer", r.cfg.Renamers, r.rename},
		{"watcher", r.cfg.Watchers, r.setWatch},
		{"churner", r.cfg.Churners, r.churn},
	} {
		for range kind.n {
			r.add(kind.role, kind.step)
		}
	}
	if r.cfg.PlantHang {
		r.add("planted", plant)
	}
}

func (r *runner) add(role string, step func(*worker, *rand.Rand)) {
	w := &worker{role: role}
	w.step("starting")
	r.workers = append(r.workers, w)
	r.wait.Add(1)
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	go onThread(func() {
		defer r.wait.Done()
		defer w.over.Store(true)
		w.tid.Store(int64(unix.Gettid()))
		for !r.stop.Load() {
			step(w, random)
		}
	})
}

// watch waits until the time is over, a worker hangs, or the run is stopped.
func (r *runner) watch(start time.Time, out *json.Encoder, stopped <-chan struct{}) (hangs []Hang, interrupted bool) {
	dog := newWatchdog(r.workers, start)
	tick := time.NewTicker(min(aliveEvery, r.cfg.HangAfter/4))
	defer tick.Stop()
	end := time.After(r.cfg.Duration)
	for {
		select {
		case <-end:
			return nil, false
		case <-stopped:
			return nil, true
		case now := <-tick.C:
			// If that cannot be written, the other process is gone, and its end of the pipe tells.
			_ = out.Encode(message{Alive: true})
			if hangs := r.hanging(dog, now); len(hangs) > 0 {
				return hangs, false
			}
		}
	}
}

func (r *runner) hanging(dog *watchdog, now time.Time) (hangs []Hang) {
	workers, since := dog.look(now, r.cfg.HangAfter)
	for i, w := range workers {
		hangs = append(hangs, describe(w, since[i], now))
	}
	return hangs
}

// finish waits for the last steps, which hang as well if they do not end.
func (r *runner) finish(out *json.Encoder) []Hang {
	done := make(chan struct{})
	go func() {
		r.wait.Wait()
		close(done)
	}()
	dog := newWatchdog(r.workers, time.Now())
	tick := time.NewTicker(min(aliveEvery, r.cfg.HangAfter/4))
	defer tick.Stop()
	for {
		select {
		case <-done:
			return nil
		case now := <-tick.C:
			_ = out.Encode(message{Alive: true})
			if hangs := r.hanging(dog, now); len(hangs) > 0 {
				return hangs
			}
		}
	}
}

// result is a copy: where a thread hangs, the others are not waited for.
func (r *runner) result(start time.Time, hangs []Hang, interrupted bool) *Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	res := &Result{
		Config: r.cfg, Views: maps.Clone(r.views), WrongViews: r.wrongViews, Wrong: append([]Wrong{}, r.wrong...),
		ReadErrors: maps.Clone(r.readErrors),
		Renames:    maps.Clone(r.renames), Watches: r.watches, Threads: r.threads, Hangs: append([]Hang{}, hangs...),
		Seconds: time.Since(start).Seconds(), Interrupted: interrupted,
	}
	for errno := range r.renames {
		// mnt_want_write comes before lock_rename, and so does the comparison of the mounts.
		if errno != "EROFS" && errno != "EXDEV" {
			res.LocksReached = true
		}
	}
	return res
}

// read checks one file of one name.
func (r *runner) read(w *worker, random *rand.Rand) {
	v := &r.stage.views[random.IntN(len(r.stage.views))]
	r.check(w, v, random.IntN(len(files)+1))
}

// check reads the file of that number, or the folder behind the last.
func (r *runner) check(w *worker, v *view, n int) {
	var name, why string
	var err error
	if n < len(files) {
		name = path.Join(v.path, files[n])
		w.step("reading " + name)
		var text []byte
		if text, err = os.ReadFile(name); err == nil {
			why = checks[files[n]](string(text), v.sign)
		}
	} else {
		name = path.Join(v.path, "dev_snmp6")
		w.step("listing " + name)
		var entries []os.DirEntry
		entries, err = os.ReadDir(name)
		if errors.Is(err, fs.ErrNotExist) {
			return // a kernel without IPv6
		}
		names := make([]string, 0, len(entries))
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if err == nil {
			why = checkListing(names, v.sign)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		r.readErrors[results.ErrnoName(err)]++
	case why != "":
		r.wrongViews++
		if len(r.wrong) < keptWrong {
			r.wrong = append(r.wrong, Wrong{Path: name, Why: why})
		}
		fallthrough
	default:
		r.views[v.kind]++
	}
}

// moved are entries that exist in every kernel that this is for, folders and files.
var moved = []string{"stat/nf_conntrack", "stat/rt_cache", "stat", "netfilter/nf_log", "netfilter", "dev_snmp6/lo",
	"dev_snmp6", "dev"}

// rename tries to move an entry from one name of a directory to another one. None may succeed; all must return.
func (r *runner) rename(w *worker, random *rand.Rand) {
	views := r.stage.views
	entry, other := moved[random.IntN(len(moved))], moved[random.IntN(len(moved))]
	if random.IntN(2) == 0 {
		other = entry // the same directory under two names: what took one lock twice
	}
	from := path.Join(views[random.IntN(len(views))].path, entry)
	to := path.Join(views[random.IntN(len(views))].path, other)
	w.step("renaming " + from + " to " + to)
	err := unix.Rename(from, to)
	name := renamed
	if err != nil {
		name = results.ErrnoName(err)
	}
	r.mu.Lock()
	r.renames[name]++
	r.mu.Unlock()
}

// setWatch watches a directory and stops watching it.
func (r *runner) setWatch(w *worker, random *rand.Rand) {
	v := &r.stage.views[random.IntN(len(r.stage.views))]
	name := path.Join(v.path, []string{".", "stat", "dev_snmp6", "dev"}[random.IntN(4)])
	w.step("watching " + name)
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err == nil {
		_, err = unix.InotifyAddWatch(fd, name, unix.IN_ALL_EVENTS)
		_ = unix.Close(fd) // and with it the watch
	}
	if err != nil {
		return // ENOENT, or the user's limit of watches
	}
	r.mu.Lock()
	r.watches++
	r.mu.Unlock()
}

// churn starts a thread, which enters a namespace, looks at its own names and ends.
func (r *runner) churn(w *worker, random *rand.Rand) {
	i, n := random.IntN(len(r.stage.spaces)), random.IntN(len(files)+1)
	w.step("waiting for a thread that comes and goes")
	own := w.tid.Load()
	defer w.tid.Store(own)
	done := make(chan struct{})
	go onThread(func() {
		defer close(done)
		if err := visit(r, w, r.stage.spaces[i], &r.stage.signs[i], n); err != nil {
			r.mu.Lock()
			r.readErrors[results.ErrnoName(err)]++
			r.mu.Unlock()
		}
	})
	<-done
}

func visit(r *runner, w *worker, ns *netlab.NetNS, of *sign, n int) error {
	w.tid.Store(int64(unix.Gettid()))
	if _, err := ns.Enter(); err != nil { // never left: the thread ends
		return err
	}
	r.check(w, &view{"/proc/thread-self/net", "/proc/thread-self/net", of}, n)
	r.check(w, &view{"/proc/TID/net", fmt.Sprintf("/proc/%d/net", unix.Gettid()), of}, n)
	runtime.KeepAlive(ns)
	r.mu.Lock()
	r.threads++
	r.mu.Unlock()
	return nil
}

// plant waits in the kernel for what never comes. The wait can be ended by a signal, unlike that of a real hang:
// otherwise the process would stay.
func plant(w *worker, _ *rand.Rand) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return
	}
	w.step("reading from a pipe that nobody writes to, as --plant-hang wants")
	for {
		var b [1]byte
		if _, err := unix.Read(pipe[0], b[:]); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
