package ct

import (
	"encoding/json"
	"strconv"
)

// Counter is one of the kernel's per-CPU conntrack statistics. Its number is that of the attribute which carries it
// (enum ctattr_stats_cpu in linux/netfilter/nfnetlink_conntrack.h).
type Counter uint8

// The counters in the order of the kernel's enum. Those called gone are no longer sent: Searched, New, Delete
// and DeleteList since 4.9 (8e8118f), Ignore since 5.10.
const (
	Searched      Counter = iota + 1 // gone
	Found                            // lookups that found an entry; on today's kernels only those for a free tuple
	New                              // gone
	Invalid                          // packets that could not be tracked
	Ignore                           // gone
	Delete                           // gone
	DeleteList                       // gone
	Insert                           // entries inserted; on today's kernels only those made by user space
	InsertFailed                     // entries that could not be inserted; before 5.10 also resolved clashes
	Drop                             // packets dropped for want of an entry: no memory, table full, or an unresolved clash
	EarlyDrop                        // entries evicted to make room
	Error                            // packets refused by a protocol's tracker
	SearchRestart                    // lookups begun again because the table changed under them
	ClashResolve                     // clashes whose loser adopted the winner's entry; since 5.10 (bc92470413f3)
	ChainTooLong                     // insertions refused because a hash chain was too long; since 5.15 (d7e7747ac5c2)

	numCounters
)

var counterNames = [numCounters]string{
	Searched: "searched", Found: "found", New: "new", Invalid: "invalid", Ignore: "ignore", Delete: "delete",
	DeleteList: "delete_list", Insert: "insert", InsertFailed: "insert_failed", Drop: "drop", EarlyDrop: "early_drop",
	Error: "error", SearchRestart: "search_restart", ClashResolve: "clash_resolve", ChainTooLong: "chain_toolong",
}

// String returns the counter's name as in JSON: the kernel's, in lower case.
func (c Counter) String() string {
	if c == 0 || c >= numCounters {
		return "counter " + strconv.Itoa(int(c))
	}
	return counterNames[c]
}

// Gone says that today's kernels no longer send the counter, so that its absence is not worth a word.
func (c Counter) Gone() bool {
	switch c {
	case Searched, New, Ignore, Delete, DeleteList:
		return true
	}
	return false
}

// AllCounters lists every counter in the kernel's order.
func AllCounters() []Counter {
	all := make([]Counter, 0, numCounters-1)
	for c := Counter(1); c < numCounters; c++ {
		all = append(all, c)
	}
	return all
}

// Value is a number that the kernel may or may not send.
type Value struct {
	N    uint64
	Sent bool // false: this kernel does not know the number, which is not the same as zero
}

// ValueOf is the number that n points to; with nil one that was not sent.
func ValueOf(n *uint64) Value {
	if n == nil {
		return Value{}
	}
	return Value{N: *n, Sent: true}
}

// Pointer is nil where the kernel did not send the number.
func (v Value) Pointer() *uint64 {
	if !v.Sent {
		return nil
	}
	return &v.N
}

// String returns the number, or "-" where the kernel did not send it.
func (v Value) String() string {
	if !v.Sent {
		return "-"
	}
	return strconv.FormatUint(v.N, 10)
}

// MarshalJSON writes the number, or null where the kernel did not send it.
func (v Value) MarshalJSON() ([]byte, error) {
	if !v.Sent {
		return []byte("null"), nil
	}
	return strconv.AppendUint(nil, v.N, 10), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *Value) UnmarshalJSON(b []byte) error {
	var n *uint64
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	*v = ValueOf(n)
	return nil
}

// Counters holds a value for each [Counter], which is its index. Index 0 is unused.
type Counters [numCounters]Value

// Plus adds two sets. A counter is sent in the sum if it was in either.
func (c Counters) Plus(o Counters) Counters {
	for i := range c {
		c[i].N += o[i].N
		c[i].Sent = c[i].Sent || o[i].Sent
	}
	return c
}

// since returns what each counter rose by after before was read. The kernel counts in 32 bits, so the difference
// is taken in 32 bits too: it is right across one wrap.
func (c Counters) since(before Counters) Counters {
	for i := range c {
		c[i].N = uint64(uint32(c[i].N) - uint32(before[i].N))
	}
	return c
}

// Clashes is how many clashes the kernel has counted: those that it resolved ([ClashResolve]) and those whose loser
// it dropped. The latter are in [InsertFailed], on kernels before 5.10 both kinds are; from 5.15 on, that counts the
// insertions as well that [ChainTooLong] counts, which were no clash. Readings of several CPUs are not of one
// instant: less than nothing is nothing.
//
// Clashes that no counter of a kernel sees (4.18 to 6.11, where a queue gives a packet back) are not in it. It is not
// sent where the kernel sent neither counter.
func (c Counters) Clashes() Value {
	resolved, failed := c[ClashResolve], c[InsertFailed]
	return Value{
		N:    resolved.N + failed.N - min(c[ChainTooLong].N, failed.N),
		Sent: resolved.Sent || failed.Sent,
	}
}

// Zero says that nothing was counted.
func (c Counters) Zero() bool {
	for _, v := range c {
		if v.N != 0 {
			return false
		}
	}
	return true
}

// MarshalJSON writes an object with every counter in the kernel's order, null where it was not sent.
func (c Counters) MarshalJSON() ([]byte, error) {
	return append(c.appendJSON([]byte{'{'}), '}'), nil
}

// UnmarshalJSON reads what MarshalJSON writes. A counter that is not in it was not sent.
func (c *Counters) UnmarshalJSON(b []byte) error {
	var values map[string]Value
	if err := json.Unmarshal(b, &values); err != nil {
		return err
	}
	*c = Counters{}
	for _, counter := range AllCounters() {
		c[counter] = values[counter.String()]
	}
	return nil
}

func (c Counters) appendJSON(b []byte) []byte {
	return appendMembers(b, func(b []byte, counter Counter) []byte {
		if v := c[counter]; v.Sent {
			return strconv.AppendUint(b, v.N, 10)
		}
		return append(b, "null"...)
	})
}

// appendMembers writes what stands within the braces of an object with every counter, in the kernel's order.
func appendMembers(b []byte, value func([]byte, Counter) []byte) []byte {
	for i, counter := range AllCounters() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, counter.String()), ':')
		b = value(b, counter)
	}
	return b
}
