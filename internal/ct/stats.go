package ct

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mdlayher/netlink"
)

// Attributes of IPCTNL_MSG_CT_GET_STATS (enum ctattr_stats_global).
const (
	attrGlobalEntries    = 1 // CTA_STATS_GLOBAL_ENTRIES
	attrGlobalMaxEntries = 2 // CTA_STATS_GLOBAL_MAX_ENTRIES, since 4.18
)

// Table says how full the conntrack table is.
type Table struct {
	Entries    Value `json:"entries"`
	MaxEntries Value `json:"max_entries"`
}

// CPU holds what one CPU counted.
type CPU struct {
	CPU int
	Counters
}

// MarshalJSON writes the CPU's number and its counters as one flat object.
func (c CPU) MarshalJSON() ([]byte, error) {
	b := strconv.AppendInt([]byte(`{"cpu":`), int64(c.CPU), 10)
	return append(c.appendJSON(append(b, ',')), '}'), nil
}

// Snapshot is the state of the statistics at one time: every CPU that may exist, in the order of their numbers.
type Snapshot struct {
	Time  time.Time
	Table Table
	CPUs  []CPU
}

// Total sums the counters over the CPUs. A sum has 64 bits, so it does not wrap.
func (s Snapshot) Total() Counters {
	var sum Counters
	for _, cpu := range s.CPUs {
		sum = sum.Plus(cpu.Counters)
	}
	return sum
}

// Since returns how much each counter of s rose after before was read; time and table are those of s. Counters wrap at
// 32 bits, so the differences are right as long as none rises by more than 2^32-1 in between.
func (s Snapshot) Since(before Snapshot) Snapshot {
	base := make(map[int]Counters, len(before.CPUs))
	for _, cpu := range before.CPUs {
		base[cpu.CPU] = cpu.Counters
	}
	delta := s
	delta.CPUs = slices.Clone(s.CPUs)
	for i, cpu := range delta.CPUs {
		delta.CPUs[i].Counters = cpu.since(base[cpu.CPU])
	}
	return delta
}

// Plus adds what the same CPUs counted at other times; time and table are those of s.
func (s Snapshot) Plus(o Snapshot) Snapshot {
	more := make(map[int]Counters, len(o.CPUs))
	for _, cpu := range o.CPUs {
		more[cpu.CPU] = cpu.Counters
	}
	s.CPUs = slices.Clone(s.CPUs)
	for i, cpu := range s.CPUs {
		s.CPUs[i].Counters = cpu.Plus(more[cpu.CPU])
	}
	return s
}

// Snapshot reads the table's size and the counters of every CPU. After an error the connection is of no more use: a
// second answer to the same question may still be on its way.
func (c *Conn) Snapshot() (Snapshot, error) {
	const op = "read the statistics"
	// Two questions in one send, and the dump last: the kernel marks the answer to GET_STATS as one of several
	// although nothing follows it (ctnetlink_stat_ct_fill_info sets NLM_F_MULTI). A reader that waits for the end of
	// the answer, as the netlink library does (its pull request 315), waits for ever. Here the end of the dump is the
	// end of both.
	requests, err := c.nl.SendMessages([]netlink.Message{
		request(msgGetStats, 0),
		request(msgGetStatsCPU, netlink.Dump),
	})
	if err != nil {
		return Snapshot{}, explain(op, err)
	}
	replies, err := c.nl.Receive()
	if err != nil {
		return Snapshot{}, explain(op, err)
	}
	if err := match(requests, replies); err != nil {
		return Snapshot{}, fmt.Errorf("conntrack: %s: %w", op, err)
	}
	s, err := decode(replies)
	if err != nil {
		return Snapshot{}, fmt.Errorf("conntrack: %s: %w", op, err)
	}
	s.Time = time.Now()
	return s, nil
}

// match checks that each reply answers one of the requests.
func match(requests, replies []netlink.Message) error {
	for _, reply := range replies {
		if !slices.ContainsFunc(requests, func(r netlink.Message) bool {
			return r.Header.Sequence == reply.Header.Sequence && r.Header.PID == reply.Header.PID
		}) {
			return fmt.Errorf("reply %d to port %d answers no request of this connection", reply.Header.Sequence, reply.Header.PID)
		}
	}
	return nil
}

// decode reads the answers to both requests.
func decode(replies []netlink.Message) (Snapshot, error) {
	var s Snapshot
	for _, m := range replies {
		switch m.Header.Type {
		case ctnetlinkType(msgGetStats):
			table, err := decodeTable(m)
			if err != nil {
				return Snapshot{}, fmt.Errorf("decode the table's size: %w", err)
			}
			s.Table = table
		case ctnetlinkType(msgGetStatsCPU):
			cpu, err := decodeCPU(m)
			if err != nil {
				return Snapshot{}, fmt.Errorf("decode a CPU's counters: %w", err)
			}
			s.CPUs = append(s.CPUs, cpu)
		default:
			return Snapshot{}, fmt.Errorf("unexpected reply of type %#x", uint16(m.Header.Type))
		}
	}
	if len(s.CPUs) == 0 {
		return Snapshot{}, errors.New("the kernel named no CPU")
	}
	slices.SortFunc(s.CPUs, func(a, b CPU) int { return a.CPU - b.CPU })
	return s, nil
}

func decodeCPU(m netlink.Message) (CPU, error) {
	ad, number, err := attributes(m)
	if err != nil {
		return CPU{}, err
	}
	cpu := CPU{CPU: int(number)}
	for ad.Next() {
		// A counter that a later kernel adds has no name here and is left alone.
		if c := Counter(ad.Type()); ad.Type() > 0 && ad.Type() < uint16(numCounters) {
			cpu.Counters[c] = Value{N: uint64(ad.Uint32()), Sent: true}
		}
	}
	return cpu, ad.Err()
}

func decodeTable(m netlink.Message) (Table, error) {
	ad, _, err := attributes(m)
	if err != nil {
		return Table{}, err
	}
	var t Table
	for ad.Next() {
		switch ad.Type() {
		case attrGlobalEntries:
			t.Entries = Value{N: uint64(ad.Uint32()), Sent: true}
		case attrGlobalMaxEntries:
			t.MaxEntries = Value{N: uint64(ad.Uint32()), Sent: true}
		}
	}
	return t, ad.Err()
}
