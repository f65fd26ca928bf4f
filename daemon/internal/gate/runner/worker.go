package runner

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/gate"
	"verdictd/daemon/internal/ring"
	"verdictd/internal/ct"
	"verdictd/internal/nfnl"
	"verdictd/internal/nfq"
	"verdictd/internal/packet"
	"verdictd/internal/statistics"
	"verdictd/internal/vocabulary"
)

// flowKey is gate's; a name of its own, as gate is a variable in places.
var flowKey = gate.FlowKey

// questions is how many flows conntrack is asked for by one system call.
const questions = 64

// worker owns one queue of the gate, its numbers for zones and announcements
// included, and all flows whose packets come there.
type worker struct {
	gate   *Gate
	number int
	queue  *nfq.Mmsg
	lookup *ct.Lookup
	bell   bell
	table  *gate.Table
	held   *heldMemory
	// restores: the gate of another process goes on. restored are its held packets.
	restores bool
	restored map[uint64]bool
	settings *gate.Config // of the table
	section  section
	// zones are those of the queue's numbers; as many numbers follow for what is
	// announced.
	zones []uint16
	// numbers are those of the queues, and lastID is the id of the last packet of each.
	numbers []uint16
	lastID  []uint32

	view   packet.View
	packet gate.Packet
	reply  nfq.Reply
	wanted [questions]gate.Question
	asked  [questions]ct.Question

	// What others tell.
	drops *ring.Ring[dropped]
	moves atomic.Int64 // verdicts of others since the last turn
	try   atomic.Bool
	shut  atomic.Bool // receive nothing
	dark  atomic.Bool // rules change, or have changed
	ended atomic.Bool
	// What others are told.
	thread  int // its number
	holding atomic.Int64
	pending atomic.Bool
	inDark  atomic.Uint64 // gate.Table.Dark

	behind int // turns since the socket was seen empty
	crowd  crowd
	pause  nfnl.Pause
	// refusals came while the queue was received from, and wait for the next turn.
	refusals []refusal

	// stopClock began with the stop, at stopsFrom.
	stopClock gate.Clock
	stopsFrom int64

	turnBegan       int64
	askErrors       uint64
	firstUS, heldUS *statistics.Histogram
	// window is where others look at the counters; counted is what was seen there last,
	// and theirs.
	window  *statistics.Window
	counted counted
}

// refusal is of the verdict on a flow's first packet.
type refusal struct {
	flow int32
	id   uint32
}

// run is the worker's thread.
func (w *worker) run() error {
	if w.restores {
		w.restore()
	}
	for {
		if w.gate.leaving.Load() {
			w.queue.Handled()
			return nil
		}
		if w.gate.stopping.Load() && w.done() {
			return w.drain()
		}
		b, err := w.next()
		if err != nil {
			return fmt.Errorf("gate: %w", err)
		}
		if err := w.turn(b); err != nil {
			return fmt.Errorf("gate: %w", err)
		}
	}
}

// turn takes a batch, which may be empty, and does what is due.
func (w *worker) turn(b *nfq.Batch) error {
	epoch := w.section.enter()
	defer w.section.leave()
	w.turnBegan = b.Received
	w.table.Begin(b.Received, epoch)
	w.hear()
	for i := range b.Packets {
		b.Judges(&b.Packets[i])
		w.take(&b.Packets[i])
	}
	w.resolve(b.All)
	for {
		if err := w.answer(); err != nil {
			return err
		}
		n := w.table.Questions(w.wanted[:])
		if n == 0 {
			break
		}
		w.ask(w.wanted[:n])
	}
	// A turn has one time, which is before all that it has read and asked. So where this thread
	// was stopped since, nothing is let go now by a time at which conntrack was not asked for it.
	looked := w.gate.looked.Load()
	w.table.Expire(gate.Judge(w.gate.judge.Load()), looked) // which may be of a later look
	if w.try.CompareAndSwap(true, false) {
		w.table.Try()
	}
	if err := w.answer(); err != nil {
		return err
	}
	w.table.Forget()
	w.list()
	w.tell()
	w.window.Turn()
	return nil
}

// hear takes what others have told since the last turn.
func (w *worker) hear() {
	w.bell.silence()
	w.section.join(w.table)
	w.configure()
	for _, r := range w.refusals {
		w.table.Refused(r.flow, r.id)
	}
	w.refusals = w.refusals[:0]
	if n := w.moves.Swap(0); n > 0 {
		w.table.Moved(int(n))
	}
	w.table.ChainAdded(w.gate.cfg.ChainAdded())
	if w.dark.Swap(false) {
		w.table.Darken(w.gate.changing.Load())
	}
	w.table.SetListing(w.gate.listing.Load())
	for {
		d, ok := w.drops.Pop()
		if !ok {
			return
		}
		w.table.Dropped(&d.key, d.print)
	}
}

// resolve tells the table of epochs that are resolved, once the socket was read
// empty: a first packet may be in it once more, as it was announced, or as somebody
// added a base chain. It was then queued before the turn that released it ended, so
// there are no more packets before it than the queue takes.
func (w *worker) resolve(all bool) {
	if w.shut.Load() {
		// The socket is not read. If it was empty before, nothing is announced either,
		// as the settled set is out of use.
		if w.behind == 0 {
			w.section.news(w.table)
		}
		return
	}
	if w.behind++; !all && w.behind <= queueLength/batch {
		return
	}
	w.behind = 0
	w.section.news(w.table)
}

// place is a queue's among those of the worker: a zone's packets, or, above those of all
// zones, its announcements.
func (w *worker) place(queue uint16) int { return slices.Index(w.numbers, queue) }

// missed counts packets that the kernel let pass as there was no room in the
// socket: it had numbered them already. Where the queue was taken over, the first number
// says nothing.
func (w *worker) missed(p *nfq.Packet) {
	last := &w.lastID[w.place(p.Queue)]
	if gap := p.ID - *last - 1; (*last != 0 || !w.restores) && gap < queueLength<<4 {
		w.table.Counters.Unguarded += uint64(gap)
		w.table.Counters.UnguardedSocket += uint64(gap)
	}
	*last = p.ID
}

// take gives a packet to the table.
func (w *worker) take(p *nfq.Packet) {
	w.missed(p)
	if p.Left && w.restored[place(p.Queue, p.ID)] {
		w.queue.Known(p.Queue) // it was received, and is held
		return
	}
	v := &w.view
	if v.DecodeCopy(p.Payload, p.Length()) != nil || !enters(v) {
		w.table.Exempt(p.ID, p.Queue)
		return
	}
	g := &w.packet
	v.Key(&g.Key)
	zone := w.place(p.Queue)
	if g.Announced = zone >= len(w.zones); g.Announced {
		zone -= len(w.zones)
	}
	g.Turned = flowKey(&g.Key, w.zones[zone])
	g.Print, g.ID, g.Queue, g.Again = v.Fingerprint(), p.ID, p.Queue, p.Left
	g.Bytes = uint32(p.Length())
	w.table.Packet(g)
}

// enters reports whether a packet may begin a flow that clashes. The rules select
// such packets; rules of others may send more.
func enters(v *packet.View) bool {
	if v.Fragment {
		return false // conntrack puts fragments together before the gate, or is not there
	}
	switch v.Protocol {
	case unix.IPPROTO_TCP:
		return false
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return vocabulary.IsQuery(v.Protocol, v.ICMPType)
	}
	return true
}

// answer gives the verdicts so far.
func (w *worker) answer() error {
	verdicts := w.table.Verdicts
	if len(verdicts) == 0 {
		return nil
	}
	for i := range verdicts {
		v := &verdicts[i]
		w.reply = nfq.Reply{ID: v.ID, Queue: v.Queue, Verdict: nfq.Drop, Tag: uint32(v.First + 1), Again: v.Again}
		if v.Accept {
			w.reply.Verdict = nfq.Accept
		}
		if err := w.queue.Reply(&w.reply); err != nil {
			return err
		}
	}
	if err := w.queue.Flush(); err != nil {
		return err
	}
	w.record(verdicts, nfq.Now())
	w.table.Returned()
	return nil
}

// record measures how long the verdicts took.
func (w *worker) record(verdicts []gate.Verdict, now int64) {
	for i := range verdicts {
		switch v := &verdicts[i]; {
		case v.Since != 0:
			w.heldUS.Record(now-v.Since, 1)
		case v.First >= 0:
			w.firstUS.Record(now-w.turnBegan, 1)
		}
	}
}

// ask puts questions to conntrack and gives the answers to the table.
func (w *worker) ask(wanted []gate.Question) {
	asked := w.asked[:len(wanted)]
	for i := range wanted {
		asked[i] = ct.Question{Key: wanted[i].Tuple, Zone: wanted[i].Zone}
	}
	failed := w.lookup.Ask(asked) != nil
	for i := range asked {
		if failed || asked[i].Err != nil {
			w.askErrors++
			w.table.Unanswered(wanted[i].Flow)
			continue
		}
		w.table.Answer(wanted[i].Flow, asked[i].Known)
	}
}

// list hands flows over to the lister.
func (w *worker) list() {
	if len(w.table.Listed) == 0 {
		return
	}
	for i := range w.table.Listed {
		if !w.gate.lister.flows.Push(w.table.Listed[i]) {
			w.table.Counters.ListFailed++
		}
	}
	w.table.Listed = w.table.Listed[:0]
	w.gate.lister.bell.ring()
}

// tell publishes what others want to know.
func (w *worker) tell() {
	was := w.holding.Load()
	now := int64(w.table.Held())
	if now != was {
		w.holding.Store(now)
		w.gate.holding.Add(now - was)
	}
	w.inDark.Store(w.table.Dark())
	pending := w.table.Pending()
	w.pending.Store(pending)
	if (pending || now > 0) && w.gate.watcher.idle.Load() {
		w.gate.watcher.bell.ring()
	}
}

// done reports whether a gate that stops may end: nothing is held, or it has
// waited for guard.hold. The worker looks each stopTurn.
func (w *worker) done() bool {
	ran := w.stopClock.Pass(nfq.Now())
	if w.stopsFrom == 0 {
		w.stopsFrom = ran
	}
	return w.table.Held() == 0 && !w.shut.Load() || ran-w.stopsFrom > int64(w.gate.settings.Load().Hold)
}

// drain takes what is in the socket still and lets everything go.
func (w *worker) drain() error {
	w.shut.Store(false)
	for {
		b, err := w.queue.Next(nil, 0)
		if err != nil {
			return fmt.Errorf("gate: %w", err)
		}
		if len(b.Packets) == 0 && w.table.Held() == 0 {
			break
		}
		if err := w.turn(b); err != nil {
			return fmt.Errorf("gate: %w", err)
		}
		w.table.Counters.Unguarded += w.table.Drain()
		if err := w.answer(); err != nil {
			return fmt.Errorf("gate: %w", err)
		}
	}
	return nil
}

// refused is told of verdicts that the kernel did not take.
func (w *worker) refused(tag, id uint32, errno unix.Errno) {
	if errno == unix.ENOENT && tag > 0 && len(w.refusals) < cap(w.refusals) {
		w.refusals = append(w.refusals, refusal{int32(tag - 1), id})
	}
}

func (w *worker) close() error {
	var errs []error
	if w.queue != nil {
		errs = append(errs, w.queue.Close())
	}
	if w.held != nil {
		errs = append(errs, w.held.Close())
	}
	if w.lookup != nil {
		errs = append(errs, w.lookup.Close())
	}
	if w.bell.Alarm != nil {
		errs = append(errs, w.bell.Close())
	}
	return errors.Join(errs...)
}
