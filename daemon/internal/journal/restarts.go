package journal

import (
	"cmp"
	"encoding/binary"
	"errors"
)

// The memory in which processes one after the other count themselves.
const (
	restartsName  = "restarts-0"
	restartsMagic = 0x76646c6976657331 // "vdlives1"
	restartsSize  = 16                 // magic and count
)

// Restarts is how often in a row a process has begun with queues that the one before it
// had left, this one included. 0: it has begun with none, or nobody keeps anything. To be
// called once, before queues are taken over.
func (k *Kept) Restarts() (count uint64, err error) {
	if !k.Lasting() {
		return 0, nil
	}
	m := k.counted()
	if m == nil {
		if m, err = NewMemory(restartsName); err != nil {
			return 0, err
		}
		if err = m.Resize(restartsSize); err == nil {
			binary.NativeEndian.PutUint64(m.Bytes(), restartsMagic)
			err = k.Keep(restartsName, m.Descriptor())
		}
		if err != nil {
			return 0, errors.Join(err, m.Close())
		}
	}
	b := m.Bytes()[8:]
	count = binary.NativeEndian.Uint64(b)
	if len(k.Left(Verdicts))+len(k.Left(Gate)) > 0 {
		count++
	} else {
		count = 0
	}
	binary.NativeEndian.PutUint64(b, count)
	return count, m.Close()
}

// counted is the memory of the processes before; nil: there is none.
func (k *Kept) counted() *Memory {
	f := k.take(restartsName)
	if f == nil {
		return nil
	}
	m, err := OpenMemory(f)
	if err == nil && len(m.Bytes()) == restartsSize && binary.NativeEndian.Uint64(m.Bytes()) == restartsMagic {
		return m
	}
	k.log.Warn("the count of restarts cannot be read: it begins with 0", "error", cmp.Or(err, ErrForeign))
	if err = nil; m != nil {
		f, err = nil, m.Close()
	}
	if err := errors.Join(err, closeFile(f), k.forget(restartsName)); err != nil {
		k.log.Warn("give up the count of restarts", "error", err)
	}
	return nil
}
