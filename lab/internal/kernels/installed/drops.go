package installed

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/procfs"

	"verdictd/internal/nfq"
)

// drops are the packets that the kernel has dropped, by where it did. It is asked before and after: a counter may be
// of the machine, and a queue's, which the service hands on, is older than the load.
type drops map[string]uint64

// dropsOf are the counters of /proc/net/stat in which a packet of the load can end.
var dropsOf = map[string][]string{
	"arp_cache":    {"unresolved_discards", "table_fulls"},
	"nf_conntrack": {"invalid", "drop", "early_drop", "insert_failed"},
}

func readDrops() (drops, error) {
	d := drops{}
	queues, err := nfq.ReadKernelQueues()
	if err != nil {
		return nil, err
	}
	for _, q := range queues {
		d[fmt.Sprintf("queue %d: full", q.Queue)] = uint64(q.QueueDropped)
		d[fmt.Sprintf("queue %d: the socket was full", q.Queue)] = uint64(q.UserDropped)
	}
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, err
	}
	backlogs, err := fs.NetSoftnetStat()
	if err != nil {
		return nil, err
	}
	for _, b := range backlogs {
		d["netdev_max_backlog"] += uint64(b.Dropped)
	}
	files, err := fs.NetStat()
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		for _, name := range dropsOf[file.Filename] {
			for _, n := range file.Stats[name] {
				d[file.Filename+": "+name] += n
			}
		}
	}
	return d, nil
}

// since says what has been dropped since before was read.
func (d drops) since(before drops) string {
	var said []string
	for _, where := range slices.Sorted(maps.Keys(d)) {
		// A queue that is another one than before has begun again.
		if n := d[where]; n > before[where] {
			said = append(said, fmt.Sprintf("%d (%s)", n-before[where], where))
		}
	}
	if len(said) == 0 {
		return "the kernel counts no drops"
	}
	return "the kernel dropped " + strings.Join(said, ", ")
}
