package liverules

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// poll looks at what nobody announces, in a namespace, from a thread of its own. It
// says on started whether it can.
func (w *Watcher) poll(ctx context.Context, namespace *os.File, started chan<- error) {
	// Where the thread was moved it ends with the goroutine.
	runtime.LockOSThread()
	moved, err := enter(namespace)
	if !moved {
		defer runtime.UnlockOSThread()
	}
	seed := maphash.MakeSeed()
	var before uint64
	if err == nil {
		before, err = fingerprint(seed)
	}
	started <- err
	if err != nil {
		return
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// A table that goes, or changes all the time, while it is read has changed.
		now, err := fingerprint(seed)
		if err != nil || now != before {
			before = now
			w.changed()
		}
	}
}

// enter moves the thread to a namespace, unless it is there.
func enter(namespace *os.File) (moved bool, err error) {
	here, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return false, fmt.Errorf("look at the thread's namespace: %w", err)
	}
	there, err := namespace.Stat()
	if err != nil {
		return false, fmt.Errorf("look at the namespace to watch: %w", err)
	}
	if os.SameFile(here, there) {
		return false, nil
	}
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return false, fmt.Errorf("enter the namespace to watch (needs CAP_SYS_ADMIN): %w", err)
	}
	return true, nil
}

// fingerprint differs where the legacy tables do, or what else is polled.
func fingerprint(seed maphash.Seed) (uint64, error) {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, p := range protocols {
		if err := fingerprintTables(&h, p); err != nil {
			return 0, err
		}
	}
	// What cannot be read now changes nothing.
	services, tracked, _ := readIPVS()
	bridge, _ := readBridgeCalls()
	fmt.Fprint(&h, services, tracked, bridge)
	return h.Sum64(), nil
}

// fingerprintTables adds the tables of a protocol, without their counters.
func fingerprintTables(h *maphash.Hash, p protocol) (err error) {
	names, err := os.ReadFile(p.names)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // the module is not loaded, so there are no tables
	case err != nil:
		return fmt.Errorf("list the tables of %s: %w", p.program, explainNames(err))
	case len(names) == 0:
		return nil
	}
	socket, err := unix.Socket(p.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(socket)) }()
	for name := range strings.FieldsSeq(string(names)) {
		t, err := readLegacyTable(socket, p.level, name)
		if err != nil {
			return fmt.Errorf("read table %s of %s: %w", name, p.program, err)
		}
		t.clearCounters(layoutOf(p.family))
		_, _ = h.WriteString(p.program + " " + name)
		_, _ = h.Write(t.entries)
	}
	return nil
}

// clearCounters sets the counters of packets and bytes to zero, which each entry's
// header ends with.
func (t legacyTable) clearCounters(l layout) {
	const counters = 16
	for b := t.entries; len(b) >= l.size; {
		clear(b[l.size-counters : l.size])
		next := int(binary.NativeEndian.Uint16(b[l.offsets+2:]))
		if next < l.size || next > len(b) {
			return
		}
		b = b[next:]
	}
}
