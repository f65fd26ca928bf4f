package faults

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"verdictd/internal/ct"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/report"
	"verdictd/internal/statistics"
)

// counts are what the kernel and the program count, from which the cause of what went wrong is told.
type counts struct {
	clashes    uint64
	queues     map[string]uint64 // dropped at each
	interfaces map[string]uint64 // dropped at each
	gate       map[string]uint64 // packets that it let go unguarded, by its own counters
}

func (n *nemesis) count() (c counts, err error) {
	c.queues, c.interfaces = map[string]uint64{}, map[string]uint64{}
	err = n.top.Queue.Do(func() error {
		conn, err := ct.Dial()
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		s, err := conn.Snapshot()
		if err != nil {
			return err
		}
		c.clashes = s.Total().Clashes().N
		queues, err := nfq.ReadKernelQueues()
		for _, q := range queues {
			c.queues[strconv.Itoa(int(q.Queue))] = uint64(q.QueueDropped) + uint64(q.UserDropped)
		}
		return err
	})
	if err != nil {
		return c, err
	}
	for where, ns := range map[string]*netlab.NetNS{"sender": n.top.Sender, "router": n.top.Queue, "receiver": n.top.Receiver} {
		if err := ns.Do(func() error { return interfaceDrops(where, c.interfaces) }); err != nil {
			return c, err
		}
	}
	c.gate, err = n.letGo()
	return c, err
}

// letGo asks the daemon what its gate let go unguarded. One that stands still or is being replaced does not answer,
// which is no fault of its own here.
func (n *nemesis) letGo() (map[string]uint64, error) {
	if n.subject.guard == report.GuardOff || n.tables != nil {
		return nil, nil
	}
	out, err := n.output(n.top.Queue, n.subject.Verdictd+" status --json --socket "+n.subject.config().Control.Socket+" 2>/dev/null || :")
	if err != nil || out == "" {
		return nil, err
	}
	var status struct {
		Statistics json.RawMessage `json:"statistics"`
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		return nil, fmt.Errorf("read the daemon's status: %w: %.300s", err, out)
	}
	if string(status.Statistics) == "null" {
		return nil, nil // it has just begun
	}
	d, err := statistics.Read(status.Statistics)
	if err != nil || d.Gate == nil {
		return nil, err
	}
	t := d.Gate.Total
	return map[string]uint64{
		"expired_hold": t.ExpiredHold, "expired_limit": t.ExpiredLimit, "expired_second": t.ExpiredSecond,
		"unguarded_flows": t.UnguardedFlows, "unguarded_packets": t.UnguardedPackets,
		"unguarded_bytes": t.UnguardedBytes, "unguarded_socket": t.UnguardedSocket,
	}, nil
}

// interfaceDrops reads what the thread's interfaces have dropped.
func interfaceDrops(where string, into map[string]uint64) error {
	text, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		name, numbers, ok := strings.Cut(line, ":")
		fields := strings.Fields(numbers)
		const received, sent = 3, 11 // columns of drops
		if !ok || len(fields) <= sent {
			continue
		}
		for _, i := range []int{received, sent} {
			if v, err := strconv.ParseUint(fields[i], 10, 64); err == nil {
				into[where+" "+strings.TrimSpace(name)] += v
			}
		}
	}
	return nil
}

// since is what was counted between two counts. What is smaller than before is another queue, or another process.
func since(before, after map[string]uint64) map[string]uint64 {
	grown := map[string]uint64{}
	for where, v := range after {
		if b := before[where]; b <= v {
			v -= b
		}
		if v > 0 {
			grown[where] = v
		}
	}
	return grown
}

// sum adds up a map of counters.
func sum(counters map[string]uint64) (n uint64) {
	for _, v := range counters {
		n += v
	}
	return n
}

// listed writes counters in the order of their names.
func listed(counters map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counters[name]))
	}
	return strings.Join(parts, ", ")
}
