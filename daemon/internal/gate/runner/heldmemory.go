package runner

import (
	"fmt"
	"slices"
	"unsafe"

	"verdictd/daemon/internal/gate"
	"verdictd/daemon/internal/journal"
	"verdictd/internal/config"
	"verdictd/internal/nfq"
)

// heldMemory has the held packets of a worker for who goes on with the gate.
type heldMemory struct {
	*journal.Memory
	head    *heldHead
	records []gate.Record
	fresh   bool // nothing was held in it ever
}

// maxZones is more than a gate serves.
const maxZones = 64

// heldHead begins such memory.
type heldHead struct {
	magic, version, record, places uint32
	// The gate's shape: see Config.
	first, queues, zones uint16
	zone                 [maxZones]uint16
}

const (
	heldMagic   = 0x68647276 // vrdh
	heldVersion = 1
	heldLen     = 4096
	recordLen   = int(unsafe.Sizeof(gate.Record{}))
)

// A Shape is what the numbers of a gate's queues mean.
type Shape struct {
	FirstQueue uint16
	Queues     int
	Zones      []uint16
}

// head reads one; ok is false where it is none of this version.
func head(b []byte) (h *heldHead, ok bool) {
	if len(b) < heldLen {
		return nil, false
	}
	h = (*heldHead)(unsafe.Pointer(unsafe.SliceData(b)))
	ok = h.magic == heldMagic && h.version == heldVersion && h.record == uint32(recordLen) && h.zones < maxZones &&
		h.places > 0 && heldLen+int(h.places)*recordLen <= len(b) && h.possible()
	return h, ok
}

// possible tells shapes that a gate can have: anything can be in memory that somebody
// else has written to.
func (h *heldHead) possible() bool {
	zones := slices.Clone(h.zone[:h.zones])
	slices.Sort(zones)
	return h.queues > 0 && h.queues <= config.MaxGateQueues && !slices.Contains(zones, 0) && len(slices.Compact(zones)) == int(h.zones) &&
		int(h.first)+2*(len(zones)+1)*int(h.queues) <= 1<<16
}

func (h *heldHead) shape() Shape {
	return Shape{h.first, int(h.queues), slices.Clone(h.zone[:h.zones])}
}

// Left is the shape of the gate that a process before this one has left. What cannot be
// taken over of it is given up.
func Left(kept *journal.Kept) (s Shape, ok bool) {
	for _, number := range kept.Left(journal.Gate) {
		m, fresh, err := kept.Memory(journal.Gate, held, number)
		if err != nil {
			kept.Refuse(journal.Gate, number, err)
			continue
		}
		h, valid := head(m.Bytes())
		if valid && !fresh {
			s, ok = h.shape(), true
		}
		kept.Return(held, number, m)
		if !valid {
			kept.Refuse(journal.Gate, number, nfq.ErrVersion)
		}
	}
	return s, ok
}

// held is the kind of the memory.
const held = "gate-held"

// openHeld takes the memory over that another process has left for a worker, or makes it.
func (c *Config) openHeld(number uint16, places int) (*heldMemory, error) {
	m, fresh, err := c.Kept.Memory(journal.Gate, held, number)
	if err != nil {
		return nil, err
	}
	h, ok := head(m.Bytes())
	if ok {
		places = max(places, int(h.places))
	}
	if size := heldLen + places*recordLen; len(m.Bytes()) < size {
		if err := m.Resize(size); err != nil {
			return nil, fmt.Errorf("make room for held packets: %w", err)
		}
	}
	w := &heldMemory{Memory: m, head: (*heldHead)(unsafe.Pointer(unsafe.SliceData(m.Bytes())))}
	w.records = unsafe.Slice((*gate.Record)(unsafe.Pointer(&m.Bytes()[heldLen])), places)
	if w.fresh = fresh; !ok {
		w.clear()
	}
	w.head.version, w.head.record, w.head.places = heldVersion, uint32(recordLen), uint32(places)
	w.head.first, w.head.queues, w.head.zones = c.FirstQueue, uint16(c.Queues), uint16(copy(w.head.zone[:], c.Zones))
	w.head.magic = heldMagic
	return w, nil
}

// clear forgets all packets.
func (w *heldMemory) clear() {
	if w.fresh {
		return // looking at it would take memory for all of it
	}
	for i := range w.records {
		if w.records[i].Used {
			w.records[i].Used = false
		}
	}
}

// place tells a packet from those of other queues.
func place(queue uint16, id uint32) uint64 { return uint64(queue)<<32 | uint64(id) }

// restore takes in what the gate of another process held. Its packets in the socket and
// in the journal come then.
func (w *worker) restore() {
	epoch := w.section.enter()
	defer w.section.leave()
	w.restored = map[uint64]bool{}
	w.disown()
	w.table.Begin(nfq.Now(), epoch)
	w.table.Restore(func(queue uint16, id uint32) {
		w.restored[place(queue, id)] = true
		w.queue.Waits(queue)
	})
	w.tell()
}

// disown forgets records of queues that are none of this worker's: somebody else has
// written them, and the queue takes no reply on them.
func (w *worker) disown() {
	n := 0
	for i := range w.held.records {
		if r := &w.held.records[i]; r.Used && !slices.Contains(w.numbers, r.Queue) {
			r.Used = false
			n++
		}
	}
	if n > 0 {
		w.gate.cfg.Notice(fmt.Sprintf("%d packets that the process before is said to have held are of other queues: what is kept of queue %d was changed by somebody",
			n, w.numbers[0]))
	}
}
