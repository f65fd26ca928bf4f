package limit

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync/atomic"
	"time"
)

// Rate is Count in Interval, and Burst at once.
type Rate struct {
	Count    uint64
	Interval time.Duration
	Burst    uint64
}

// unit is how many parts of a nanosecond times are counted in. Rates of millions a second
// are exact to 0.01 percent by that, and 18 years fit.
const unit = 16

// longest is how long it may take until all of a burst is there again.
const longest = 365 * 24 * time.Hour

// Limit is a rate and what was taken of it.
type Limit struct {
	cost, capacity int64 // of a packet, and of a burst, in parts of a nanosecond

	one    bucket
	groups []group // nil: of all packets together
	seed   maphash.Seed
	shared atomic.Uint64
}

const ways = 8

// group is two cache lines.
type group struct {
	hashes  [ways]atomic.Uint64 // 0: free
	buckets [ways]bucket
}

// bucket is when it is full again. One that was never used is full.
type bucket struct{ atomic.Int64 }

// New makes a limit with buckets for so many keys, rounded up; 0: one bucket for all.
func New(r Rate, keys int) (*Limit, error) {
	if r.Count == 0 || r.Burst == 0 || r.Interval <= 0 {
		return nil, errors.New("a rate has a count, an interval and a burst, all above 0")
	}
	l := &Limit{seed: maphash.MakeSeed()}
	high, low := bits.Mul64(uint64(r.Interval), unit)
	if high != 0 {
		return nil, fmt.Errorf("%v is longer than any interval", r.Interval)
	}
	l.cost = int64(max(low/r.Count, 1))
	high, low = bits.Mul64(uint64(l.cost), r.Burst)
	if high != 0 || low > uint64(longest)*unit {
		return nil, fmt.Errorf("a burst of %d at %d in %v takes more than a year to be there again: lower it", r.Burst, r.Count, r.Interval)
	}
	l.capacity = int64(low)
	if keys > 0 {
		n := 1
		for n*ways < keys {
			n *= 2
		}
		l.groups = make([]group, n)
	}
	return l, nil
}

// Take reports whether a packet is within the rate of its key at a time in nanoseconds that
// never goes back, and counts it if so. Threads may call it at once.
func (l *Limit) Take(key []byte, now int64) bool {
	b := &l.one
	if l.groups != nil {
		b = l.bucket(key, now*unit)
	}
	return b.take(now*unit, l)
}

// Left reports whether Take would, and counts nothing.
func (l *Limit) Left(key []byte, now int64) bool {
	b := &l.one
	if l.groups != nil {
		if b, _ = l.find(key, now*unit); b == nil {
			return true
		}
	}
	_, ok := l.next(b.Load(), now*unit)
	return ok
}

// Shared is how often a key had to take a bucket that was in use.
func (l *Limit) Shared() uint64 { return l.shared.Load() }

// next is when a bucket that is full again at a time would be so with one packet more.
func (l *Limit) next(full, now int64) (int64, bool) {
	next := max(full, now) + l.cost
	return next, next-now <= l.capacity
}

func (b *bucket) take(now int64, l *Limit) bool {
	for {
		full := b.Load()
		next, ok := l.next(full, now)
		if !ok || b.CompareAndSwap(full, next) {
			return ok
		}
	}
}

func (l *Limit) hash(key []byte) (h uint64, g *group) {
	h = max(maphash.Bytes(l.seed, key), 1)
	return h, &l.groups[h>>32&uint64(len(l.groups)-1)]
}

// find returns the key's bucket, or the one that a new key would take: nil if that is full.
func (l *Limit) find(key []byte, now int64) (b *bucket, old bool) {
	h, g := l.hash(key)
	if i := g.way(h); i >= 0 {
		return &g.buckets[i], true
	}
	if b = &g.buckets[g.soonest()]; b.Load() <= now {
		return nil, false
	}
	return b, false
}

// bucket returns the key's, and gives it one if it has none.
func (l *Limit) bucket(key []byte, now int64) *bucket {
	h, g := l.hash(key)
	for {
		if i := g.way(h); i >= 0 {
			return &g.buckets[i]
		}
		i := g.soonest()
		was := g.hashes[i].Load()
		inUse := g.buckets[i].Load() > now
		if !g.hashes[i].CompareAndSwap(was, h) {
			continue // by another thread, perhaps for this key
		}
		if inUse {
			l.shared.Add(1)
		}
		return &g.buckets[i]
	}
}

// way is where a hash is; -1: nowhere.
func (g *group) way(h uint64) int {
	for i := range g.hashes {
		if g.hashes[i].Load() == h {
			return i
		}
	}
	return -1
}

// soonest is the bucket that is full again soonest, or is so for longest.
func (g *group) soonest() (at int) {
	least := g.buckets[0].Load()
	for i := range g.buckets[1:] {
		if full := g.buckets[i+1].Load(); full < least {
			at, least = i+1, full
		}
	}
	return at
}
