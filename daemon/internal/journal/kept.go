package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"verdictd/daemon/internal/fdstore"
	"verdictd/internal/nfq"
)

// Kinds of queues, which begin the names of their descriptors.
const (
	Verdicts = "queue"
	Gate     = "gate"
	// Held is the kind of memory for packets that wait for a verdict and are in no journal.
	Held = "held"
)

// Kept is what outlives the process. Its methods may be called by several goroutines.
type Kept struct {
	log   *slog.Logger
	store *fdstore.Client // nil: nobody keeps anything

	mutex    sync.Mutex
	received map[string]*os.File // that nobody has asked for so far
	names    []string            // in the store
}

// Open takes what the process began with, and reaches whoever keeps it beyond its end.
// To be called once in a process.
func Open(log *slog.Logger) (*Kept, error) {
	k := &Kept{log: log, received: fdstore.Received()}
	for name := range k.received {
		k.names = append(k.names, name)
	}
	var err error
	if k.store, err = fdstore.Open(); err != nil && !errors.Is(err, fdstore.ErrNoStore) {
		return nil, err
	}
	return k, nil
}

// Lasting reports whether somebody may keep descriptors beyond the process's end.
func (k *Kept) Lasting() bool { return k != nil && k.store != nil }

// memories are the kinds of memory that belong to a kind of socket.
func memories(kind string) []string {
	if kind == Gate {
		return []string{"gate-journal", "gate-held"}
	}
	return []string{"journal", Held}
}

func name(kind string, number uint16) string { return fmt.Sprintf("%s-%d", kind, number) }

var numbered = regexp.MustCompile(`^(queue|gate)-(\d+)$`)

// Left are the first numbers of the sockets of a kind that another process has left, in
// ascending order.
func (k *Kept) Left(kind string) (numbers []uint16) {
	if k == nil {
		return nil
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	for n := range k.received {
		if m := numbered.FindStringSubmatch(n); m != nil && m[1] == kind {
			if number, err := strconv.ParseUint(m[2], 10, 16); err == nil {
				numbers = append(numbers, uint16(number))
			}
		}
	}
	slices.Sort(numbers)
	return numbers
}

// Nothing is what a process begins with that takes nothing over and leaves nothing.
func Nothing() *Kept { return &Kept{log: slog.New(slog.DiscardHandler)} }

// Memory hands out memory that another process has left, or makes it (fresh), and has it
// kept.
func (k *Kept) Memory(kind, memory string, number uint16) (m *Memory, fresh bool, err error) {
	n := name(memory, number)
	if f := k.take(n); f != nil {
		if m, err = OpenMemory(f); err == nil {
			return m, false, nil
		}
		k.log.Warn("memory that was kept cannot be read", "name", n, "error", err)
		if err := errors.Join(closeFile(f), k.Discard(kind, number)); err != nil {
			return nil, false, err
		}
	}
	if m, err = NewMemory(n); err != nil {
		return nil, true, err
	}
	return m, true, k.Keep(n, m.Descriptor())
}

// Has reports whether another process has left such memory, and nobody has asked for it.
func (k *Kept) Has(memory string, number uint16) bool {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return k.received[name(memory, number)] != nil
}

// Return puts memory back that was looked at.
func (k *Kept) Return(memory string, number uint16, m *Memory) {
	if err := m.unmap(); err != nil {
		k.log.Warn("unmap memory", "error", err)
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.received[name(memory, number)] = m.file
}

// Refuse gives a queue up that another process has left, for the reason of an error.
func (k *Kept) Refuse(kind string, number uint16, err error) {
	k.log.Warn("a queue that was kept cannot be taken over: it begins as after a reboot, and what waited in it is lost",
		"kind", kind, "queue", number, "error", err)
	if err := k.Discard(kind, number); err != nil {
		k.log.Warn("give up what was kept of a queue", "queue", number, "error", err)
	}
}

// take hands out a descriptor that was received; nil: there was none.
func (k *Kept) take(name string) *os.File {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	f := k.received[name]
	delete(k.received, name)
	return f
}

// Keep has a descriptor kept beyond the process's end, if somebody does that. What he has
// already under the name goes.
func (k *Kept) Keep(name string, fd int) error {
	if !k.Lasting() {
		return nil
	}
	if err := k.forget(name); err != nil {
		return err
	}
	k.mutex.Lock()
	k.names = append(k.names, name)
	k.mutex.Unlock()
	return k.store.Keep(name, fd)
}

// forget has a name kept no more.
func (k *Kept) forget(name string) error {
	k.mutex.Lock()
	had := slices.Contains(k.names, name)
	k.names = slices.DeleteFunc(k.names, func(n string) bool { return n == name })
	k.mutex.Unlock()
	if !had || k.store == nil {
		return nil
	}
	return k.store.Remove(name)
}

// Forget has a queue kept no more. The kernel unbinds it when this process has closed it
// as well.
func (k *Kept) Forget(kind string, number uint16) error {
	if k == nil {
		return nil
	}
	errs := []error{k.forget(name(kind, number))}
	for _, m := range memories(kind) {
		errs = append(errs, k.forget(name(m, number)))
	}
	return errors.Join(errs...)
}

// Discard unbinds a queue that another process has left, and that cannot be taken over.
func (k *Kept) Discard(kind string, number uint16) error {
	if k == nil {
		return nil
	}
	files := []*os.File{k.take(name(kind, number))}
	if socket := files[0]; socket != nil {
		// The kernel unbinds it at once, not when the keeper has closed it.
		if err := nfq.Unbind(int(socket.Fd()), number); err != nil {
			k.log.Warn("unbind a queue that was kept", "queue", number, "error", err)
		}
	}
	for _, m := range memories(kind) {
		files = append(files, k.take(name(m, number)))
	}
	errs := []error{k.Forget(kind, number)}
	for _, f := range files {
		errs = append(errs, closeFile(f))
	}
	return errors.Join(errs...)
}

// Drop gives up what was received and nobody has asked for: a queue that nobody reads
// stalls its traffic.
func (k *Kept) Drop() {
	if k == nil {
		return
	}
	k.mutex.Lock()
	rest := k.received
	k.received = map[string]*os.File{}
	k.mutex.Unlock()
	for n, f := range rest {
		k.log.Warn("a descriptor that was kept is of no use: it is closed", "name", n)
		if err := errors.Join(f.Close(), k.forget(n)); err != nil {
			k.log.Warn("give up a descriptor", "name", n, "error", err)
		}
	}
}

// answerWithin bounds how long the keeper may take to close descriptors.
const answerWithin = 2 * time.Second

// End has nothing kept any more and returns when it is closed, for an end for good.
func (k *Kept) End() error {
	if !k.Lasting() {
		return nil
	}
	k.Drop()
	k.mutex.Lock()
	names := k.names
	k.names = nil
	k.mutex.Unlock()
	var errs []error
	for _, n := range names {
		errs = append(errs, k.store.Remove(n))
	}
	if len(names) > 0 {
		if err := k.store.Barrier(answerWithin); err != nil {
			k.log.Warn("queues may stay bound for a moment", "error", err) // before systemd 246
		}
	}
	return errors.Join(errs...)
}
