package live

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// interval is how often files are looked at.
	interval = 250 * time.Millisecond
	// tries is how many looks in turn may find a file changed before that is an error.
	tries = 40
)

// watched is what a watcher knows of a set's file.
type watched struct {
	// loaded is the file that was read last, or that was refused; seen is what the last
	// look has found.
	loaded, seen stamp
	restless     int // looks in turn that found it changed
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{there: true, size: info.Size()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		//nolint:unconvert // their types differ between architectures
		s.device, s.inode = uint64(st.Dev), uint64(st.Ino)
		s.modified, s.changed = unix.Timespec(st.Mtim), unix.Timespec(st.Ctim)
	}
	return s
}

// A Watcher follows the files of sets.
type Watcher struct {
	log   *slog.Logger
	mutex sync.Mutex
	sets  []*Set
	end   chan struct{}
	ended sync.WaitGroup
	// changes has one value where sets have changed since it was taken out.
	changes chan struct{}
}

// Watch begins to follow files.
func Watch(log *slog.Logger, sets []*Set) *Watcher {
	w := &Watcher{log: log, sets: sets, end: make(chan struct{}), changes: make(chan struct{}, 1)}
	w.ended.Go(w.run)
	return w
}

// Follow has others followed from now on.
func (w *Watcher) Follow(sets []*Set) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.sets = sets
}

// Changes brings a value when sets have changed since the last one.
func (w *Watcher) Changes() <-chan struct{} { return w.changes }

// Stop ends it. A set that is being built is built to its end first.
func (w *Watcher) Stop() {
	close(w.end)
	w.ended.Wait()
}

// lowest is the priority of the thread that builds (nice).
const lowest = 19

// quiet gives the calling goroutine a thread of the lowest priority, until it ends. Where
// that is refused, packets share the CPU with it.
func quiet() {
	runtime.LockOSThread() // and never unlocked: the thread ends with its priority
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), lowest)
}

// Quietly runs f on such a thread, and returns when it has.
func Quietly(f func()) {
	var done sync.WaitGroup
	done.Go(func() {
		quiet()
		f()
	})
	done.Wait()
}

func (w *Watcher) run() {
	quiet()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-w.end:
			return
		case <-ticker.C:
		}
		w.mutex.Lock()
		list := w.sets
		w.mutex.Unlock()
		for _, s := range list {
			if s.File != "" {
				w.look(s)
			}
		}
	}
}

// look loads a set's file where it has changed.
func (w *Watcher) look(s *Set) {
	k := &s.watch
	var now stamp
	info, err := os.Stat(s.File)
	if err == nil {
		now = stampOf(info)
	}
	if now == k.loaded {
		k.seen, k.restless = now, 0
		return
	}
	changing := now != k.seen && now.same(k.loaded)
	k.seen = now
	if changing {
		// Somebody writes to it. When nobody does any more it is read.
		if k.restless++; k.restless <= tries {
			return
		}
		err = &fs.PathError{Op: "read", Path: s.File, Err: errWritten}
	}
	k.restless = 0
	var b built
	if err == nil {
		began := time.Now()
		var at stamp
		at, b, err = s.build()
		if errors.Is(err, errWritten) {
			k.loaded, k.seen = at, stamp{} // the next looks wait for its end
			return
		}
		if err == nil {
			k.loaded = at
			s.force(b)
			select {
			case w.changes <- struct{}{}:
			default: // who looks next finds this one, too
			}
			w.log.Info("a set is read again", "set", s.Name, "file", s.File, "entries", s.Health().Entries, "took", time.Since(began).Round(time.Millisecond))
			return
		}
	}
	k.loaded = now
	s.fail(err)
	w.log.Error("a set's file is not read: the set stays as it was", "set", s.Name, "file", s.File, "error", err)
}
