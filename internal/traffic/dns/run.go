package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"verdictd/internal/netlab"
	"verdictd/internal/traffic"
)

// ErrTimedOut ends a run that took longer than its configuration allows.
var ErrTimedOut = errors.New("the timeout came first; give it more, or resolve fewer names")

// Result is what a run saw.
type Result struct {
	Config Config `json:"config"`

	// Resolutions is how many were begun and ended. Of those Resolved have learnt both addresses and Failed have not:
	// all attempts were used up, or an answer was wrong (WrongAnswers).
	Resolutions  uint64 `json:"resolutions"`
	Resolved     uint64 `json:"resolved"`
	Failed       uint64 `json:"failed"`
	WrongAnswers uint64 `json:"wrong_answers"`

	// Retried is how many resolutions had to ask again, whether they resolved then or not.
	Retried uint64 `json:"retried"`

	// Time is how long a resolution took, of those that resolved.
	Time Distribution `json:"resolution_ms"`

	// Sent is what the built-in client asked; of another it is not known.
	Sent   *Sent  `json:"questions_sent,omitempty"`
	Served Served `json:"questions_served"`
	// SocketErrors is what the kernel reported to the built-in client's sockets, by its name. EPERM: a question was
	// dropped in OUTPUT or POSTROUTING; ECONNREFUSED: nobody listened.
	SocketErrors map[string]uint64 `json:"socket_errors"`

	Seconds     float64 `json:"seconds"`
	TimedOut    bool    `json:"timed_out"`   // the timeout ended the run
	Interrupted bool    `json:"interrupted"` // the caller did
}

// Distribution is in milliseconds; all zero when nothing was measured.
type Distribution struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Run resolves every name once. One that ended early has both a result and an error, which is ErrTimedOut,
// traffic.ErrInterrupted, or what is broken; resolutions under way then are in no count. Progress is told how many are
// over.
func Run(ctx context.Context, cfg Config, progress func(done int)) (_ *Result, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &run{cfg: &cfg, naming: naming{rand.Uint32()}, progress: progress}
	r.tally.errors = map[string]uint64{}
	// A microsecond is what a resolution takes at least, and all fall-backs of glibc at most what getent may take.
	r.times = hdr.New(1, (5*time.Duration(cfg.Attempts)*cfg.AttemptTimeout + time.Minute).Microseconds(), 3)
	if err := r.open(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	bound, cancel := context.WithTimeoutCause(ctx, cfg.Timeout, ErrTimedOut)
	defer cancel()
	begun := time.Now()
	err = r.resolveAll(bound)
	took := time.Since(begun)
	switch {
	case ctx.Err() != nil:
		err, r.res.Interrupted = traffic.ErrInterrupted, true
	case errors.Is(err, ErrTimedOut):
		err, r.res.TimedOut = ErrTimedOut, true
	}
	err = errors.Join(err, r.close())
	return r.result(took), err
}

// run is what must be stopped and closed.
type run struct {
	cfg *Config
	naming
	progress func(int)

	sending, receiving *netlab.NetNS // nil: the process's own
	server             *server
	disguise           *disguise // nil for the built-in client
	tally              tally
	next               atomic.Int64

	mu    sync.Mutex
	res   Result
	times *hdr.Histogram
}

func (r *run) open() (err error) {
	for _, side := range []struct {
		path string
		ns   **netlab.NetNS
	}{{r.cfg.SenderNetns, &r.sending}, {r.cfg.ReceiverNetns, &r.receiving}} {
		if side.path == "" {
			continue
		}
		if *side.ns, err = netlab.OpenNetNS(side.path); err != nil {
			return err
		}
	}
	if r.cfg.Client == Getaddrinfo {
		if r.disguise, err = newDisguise(r.cfg); err != nil {
			return err
		}
	}
	start := func() error {
		r.server, err = startServer(r.cfg, r.naming)
		return err
	}
	if r.receiving == nil {
		return start()
	}
	return r.receiving.Do(start)
}

func (r *run) close() error {
	var errs []error
	if r.server != nil {
		errs = append(errs, r.server.stop())
	}
	if r.disguise != nil {
		errs = append(errs, r.disguise.close())
	}
	for _, ns := range []*netlab.NetNS{r.sending, r.receiving} {
		if ns != nil {
			errs = append(errs, ns.Close())
		}
	}
	return errors.Join(errs...)
}

// resolveAll returns when all is resolved, or with the reason for which it is not.
func (r *run) resolveAll(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make(chan error)
	workers := min(r.cfg.Parallel, r.cfg.Resolutions)
	for range workers {
		go func() {
			// Never unlocked: the thread is in other namespaces, and ends with the goroutine.
			runtime.LockOSThread()
			err := r.work(ctx)
			if err != nil {
				cancel(err) // the others cannot do better
			}
			errs <- err
		}()
	}
	var first error
	for range workers {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

// work resolves on a thread of its own until no name is left.
func (r *run) work(ctx context.Context) (err error) {
	if r.sending != nil {
		leave, cannot := r.sending.Enter()
		if cannot != nil {
			return cannot
		}
		defer func() { err = errors.Join(err, leave()) }()
	}
	c, err := r.client()
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		i := int(r.next.Add(1)) - 1
		if i >= r.cfg.Resolutions {
			return nil
		}
		o, err := c.resolve(ctx, i)
		if err != nil {
			return err
		}
		if err := r.enter(o); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

func (r *run) client() (client, error) {
	if r.disguise == nil {
		return &resolver{cfg: r.cfg, naming: r.naming, tally: &r.tally}, nil
	}
	if err := r.disguise.putOn(); err != nil {
		return nil, err
	}
	return &getaddrinfo{cfg: r.cfg, disguise: r.disguise, naming: r.naming, server: r.server}, nil
}

// enter counts a resolution that is over.
func (r *run) enter(o outcome) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.res.Resolutions++
	if o.retried {
		r.res.Retried++
	}
	if o.wrong {
		r.res.WrongAnswers++
	}
	if r.progress != nil {
		r.progress(int(r.res.Resolutions))
	}
	if !o.ok {
		r.res.Failed++
		return nil
	}
	r.res.Resolved++
	if err := r.times.RecordValue(max(1, o.took.Microseconds())); err != nil {
		return fmt.Errorf("record that a resolution took %v: %w", o.took, err)
	}
	return nil
}

// result is read when every thread has ended.
func (r *run) result(took time.Duration) *Result {
	res := &r.res
	res.Config = *r.cfg
	res.Seconds = took.Seconds()
	ms := func(us int64) float64 { return float64(us) / 1000 }
	res.Time = Distribution{
		P50: ms(r.times.ValueAtQuantile(50)), P90: ms(r.times.ValueAtQuantile(90)), P99: ms(r.times.ValueAtQuantile(99)),
		Max: ms(r.times.Max()),
	}
	res.Served = r.server.total()
	res.SocketErrors = r.tally.errors
	if r.cfg.Client == Builtin {
		res.Sent = &r.tally.sent
	}
	return res
}

// Warning says why the figures may mislead; "" where nothing is known to.
func (r *Result) Warning() string {
	missing := ""
	switch {
	case r.Config.Client != Getaddrinfo || r.Resolutions == 0:
	case r.Served.AAAA == 0 && r.Served.A > 0:
		missing = "IPv6"
	case r.Served.A == 0 && r.Served.AAAA > 0:
		missing = "IPv4"
	}
	if missing == "" {
		return ""
	}
	return fmt.Sprintf("getaddrinfo asked for one kind of record only: the sender's namespace has no %s address besides that of loopback (AI_ADDRCONFIG); add one, such as one from the documentation ranges to lo", missing)
}
