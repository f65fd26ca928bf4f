package nfq

import (
	"errors"
	"fmt"
	"unsafe"

	"verdictd/internal/nfnl"
	"verdictd/internal/vocabulary"
)

// Memory holds a queue's packets from the receive to the verdict. Where it outlives the
// process (a memfd), a later one answers those that this one has read and not answered:
// the kernel hands over no packet twice.
type Memory interface {
	// Bytes are all of it, page by page as the kernel has them. Fresh ones are zero.
	Bytes() []byte
	// Resize makes it so long; what Bytes returned before is not valid any more.
	Resize(size int) error
	Close() error
}

// private is memory that goes with the process.
type private []byte

func (m *private) Bytes() []byte         { return *m }
func (m *private) Resize(size int) error { *m = make([]byte, size); return nil }
func (m *private) Close() error          { return nil }

// ErrVersion says that a journal was written by another version of the program, or is
// none. What is in it can be told by nobody.
var ErrVersion = errors.New("the journal is of another version of this program")

const (
	magic   = 0x6c6a646374647276 // vrdtcdjl
	version = 1
)

// notes are the head of a journal. A process changes them by plain stores: one that is
// killed leaves them as they were between two instructions.
//
// The numbers of packets are places in the receiver, from 1 on; 0 is none. A place is
// taken while its datagram has a length.
type notes struct {
	magic   uint64
	version uint32
	count   uint32 // of places
	size    uint32 // of each
	// judging is the packet that is being judged: what ends the process then may be due
	// to it. The verdicts on packets up to answered have returned, those up to sending
	// may have.
	judging, sending, answered uint32
}

// tries is how often a packet may end the process while it is judged. Then it is dropped.
const tries = 2

// journal is a receiver in such memory, and what is noted of its packets.
type journal struct {
	*notes
	attempts []uint32 // how often each ended a process
	recv     *nfnl.Receiver
}

const notesLen = 64

func attemptsLen(count int) int { return (4*count + 63) &^ 63 }

func journalLen(count, size int) int {
	return notesLen + attemptsLen(count) + nfnl.ReceiverLen(count, size)
}

// attach lays a journal over memory that is long enough.
func attach(b []byte, count, size int) *journal {
	first := unsafe.Pointer(unsafe.SliceData(b))
	return &journal{
		notes:    (*notes)(first),
		attempts: unsafe.Slice((*uint32)(unsafe.Add(first, notesLen)), count),
		recv:     nfnl.NewReceiverIn(b[notesLen+attemptsLen(count):], count, size),
	}
}

// openJournal makes a journal of what memory holds, or a fresh one where it holds
// nothing. What was noted of the process before is kept in the places that it is about.
//
// Errors: ErrVersion.
func openJournal(m Memory, count, size int) (*journal, error) {
	b := m.Bytes()
	if len(b) < notesLen || (*notes)(unsafe.Pointer(unsafe.SliceData(b))).magic == 0 {
		return freshJournal(m, count, size)
	}
	n := *(*notes)(unsafe.Pointer(unsafe.SliceData(b)))
	if n.magic != magic || n.version != version {
		return nil, ErrVersion
	}
	if n.count < 1 || n.count > vocabulary.MaxBatch || n.size > maxMessage || journalLen(int(n.count), int(n.size)) > len(b) {
		return nil, fmt.Errorf("%w: it has %d places of %d bytes in %d", ErrVersion, n.count, n.size, len(b))
	}
	j := attach(b, int(n.count), int(n.size))
	j.charge()
	if int(n.count) == count && int(n.size) == size {
		return j, nil
	}
	return j.moved(m, count, size)
}

// maxMessage is the longest message of a packet, with room.
const maxMessage = vocabulary.MaxCopyRange + messageOverhead

func freshJournal(m Memory, count, size int) (*journal, error) {
	if err := m.Resize(journalLen(count, size)); err != nil {
		return nil, err
	}
	b := m.Bytes()
	clear(b[:notesLen+attemptsLen(count)])
	j := attach(b, count, size)
	j.recv.Clear(count)
	j.recv.Touch(usualMessage)
	j.version, j.count, j.size = version, uint32(count), uint32(size)
	j.magic = magic // last: it is complete
	return j, nil
}

// usualMessage has most packets in it: an Ethernet packet and what the kernel tells of it.
const usualMessage = 2048

// charge notes against the packet that was judged when the process ended that it did,
// and forgets what is noted of places that are free.
func (j *journal) charge() {
	if at := int(j.judging) - 1; at >= int(j.answered) && at < len(j.attempts) && j.recv.Left(at) {
		j.attempts[at]++
	}
	j.judging = 0
	for i := range j.attempts {
		if !j.left(i) {
			j.attempts[i] = 0
		}
	}
}

// left reports whether a place has a packet that may want an answer.
func (j *journal) left(i int) bool { return i >= int(j.answered) && j.recv.Left(i) }

// moved makes a journal of another layout with what is left in this one. A process that
// is killed within these microseconds loses it.
func (j *journal) moved(m Memory, count, size int) (*journal, error) {
	var heap private
	kept, err := freshJournal(&heap, max(count, int(j.count)), max(size, int(j.size)))
	if err != nil {
		return nil, err
	}
	n := kept.adopt(j)
	j.magic = 0
	fresh, err := freshJournal(m, max(count, n), size)
	if err != nil {
		return nil, err
	}
	fresh.adopt(kept)
	return fresh, nil
}

// adopt copies what is left in another journal into the first places.
func (j *journal) adopt(o *journal) (n int) {
	for i := range o.attempts {
		if !o.left(i) {
			continue
		}
		j.recv.Take(n, o.recv, i)
		j.attempts[n] = o.attempts[i]
		n++
		if i < int(o.sending) {
			j.sending = uint32(n)
		}
	}
	return n
}

// clear frees the first n places, whose packets are answered or kept elsewhere.
func (j *journal) clear(n int) {
	j.recv.Clear(n)
	j.judging, j.sending, j.answered = 0, 0, 0
}

// Judges notes that a packet of the batch is about to be judged.
func (b *Batch) Judges(p *Packet) {
	if b.notes != nil {
		b.notes.judging = p.place
	}
}

// Answers notes that the verdicts on all packets up to this one are about to be sent.
func (b *Batch) Answers(p *Packet) {
	if b.notes != nil {
		b.notes.judging, b.notes.sending = 0, max(b.notes.sending, p.place)
	}
}

// Answered notes that the verdicts on all packets up to this one have returned.
func (b *Batch) Answered(p *Packet) {
	if b.notes != nil {
		b.notes.answered = p.place
	}
}
