package observe

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"verdictd/internal/ct"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// own opens the namespace that the test is in.
func own(t *testing.T, name string) *Source {
	t.Helper()
	s, err := Open(netlab.NetNSName{Name: name, Path: "/proc/thread-self/ns/net"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func read(t *testing.T, s *Source) Reading {
	t.Helper()
	r, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A source reads its own namespace, wherever the reading goroutine is.
func TestSourceReadsItsNamespace(t *testing.T) {
	local, _ := testkit.VethPair(t)
	s := own(t, "here")
	queue, err := nfq.Open(vocabulary.BackendMmsg, nfq.Config{Queue: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer queue.Close()
	before := read(t, s)
	flow, err := net.Dial("udp4", fmt.Sprintf("%s:9", testkit.RemoteIPv4.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer flow.Close()
	if _, err := flow.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	var after Reading
	done := make(chan struct{})
	go func() { // on a thread that is not in the namespace
		defer close(done)
		after, err = s.Read()
	}()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	if after.Table.Entries.N != before.Table.Entries.N+1 {
		t.Errorf("%v entries before a flow in %s, %v after", before.Table.Entries, local.Path(), after.Table.Entries)
	}
	if after.QueuesErr != nil || len(after.Queues) != 1 || after.Queues[0].Queue != 3 {
		t.Errorf("queues %+v (%v), want queue 3", after.Queues, after.QueuesErr)
	}
	f := Between(before, after)
	if f.Clashes == nil || *f.Clashes != 0 || f.Backlog == nil || *f.Backlog != 0 || f.Fill() == nil || *f.Fill() <= 0 ||
		f.EventsLost != nil {
		t.Errorf("%+v", f)
	}
}

func TestNoNamespace(t *testing.T) {
	if _, err := Open(netlab.NetNSName{Name: "none", Path: "/run/netns/nosuch"}); err == nil ||
		!strings.Contains(err.Error(), "nosuch") {
		t.Errorf("%v", err)
	}
}

func TestBetween(t *testing.T) {
	start := time.Unix(1000, 0)
	counters := func(clashes, failed uint64) (c ct.Counters) {
		c[ct.ClashResolve] = ct.Value{N: clashes, Sent: true}
		c[ct.InsertFailed] = ct.Value{N: failed, Sent: true}
		return c
	}
	reading := func(at time.Duration, c ct.Counters, queues ...nfq.KernelQueue) Reading {
		return Reading{Snapshot: ct.Snapshot{Time: start.Add(at), CPUs: []ct.CPU{{CPU: 0, Counters: c}}}, Queues: queues}
	}
	value := func(v *float64) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprint(*v)
	}
	before := reading(0, counters(1<<32-10, 5),
		nfq.KernelQueue{Queue: 1, PortID: 10, QueueDropped: 7}, nfq.KernelQueue{Queue: 2, PortID: 10, UserDropped: 100})
	now := reading(2*time.Second, counters(10, 9),
		nfq.KernelQueue{Queue: 1, PortID: 10, QueueDropped: 8, UserDropped: 1, Queued: 30},
		nfq.KernelQueue{Queue: 2, PortID: 11, UserDropped: 3, Queued: 4})
	lost := func(n uint64) *ct.EventCounts { return &ct.EventCounts{LostEvents: ct.Value{N: n, Sent: true}} }
	before.Events, now.Events = lost(2), lost(6)
	f := Between(before, now)
	for name, tt := range map[string]struct {
		got  *float64
		want string
	}{
		"clashes, across a wrap of 32 bits": {f.Clashes, "12"},
		"insert_failed":                     {f.Failed, "2"},
		"drop, which was not sent":          {f.Dropped, "-"},
		"events lost":                       {f.EventsLost, "2"},
		"backlog":                           {f.Backlog, "34"},
		// Queue 2 has another owner, whose drops began at zero.
		"drops of the queue that stayed":      {f.QueueDropped, "1"},
		"fill of a table without known limit": {f.Fill(), "-"},
	} {
		if got := value(tt.got); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	now.QueuesErr = errors.New("not for you")
	if f := Between(before, now); f.Backlog != nil || f.QueueDropped != nil {
		t.Errorf("%+v: figures of queues that could not be read", f)
	}
	if f := Between(before, before); f.Clashes != nil || f.QueueDropped != nil {
		t.Errorf("%+v: rates without time", f)
	}
}

func TestCollector(t *testing.T) {
	testkit.Namespace(t)
	s := own(t, "router")
	s.PublishEvents(ct.EventCounts{Total: ct.Tally{New: 40}, LostEvents: ct.Value{N: 12, Sent: true}})
	queue, err := nfq.Open(vocabulary.BackendMmsg, nfq.Config{Queue: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer queue.Close()
	gone, err := Open(netlab.NetNSName{Name: "gone", Path: "/proc/thread-self/ns/net"})
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewCollector(&Set{sources: []*Source{s, gone}}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.Metric {
			name := family.GetName()
			for _, l := range m.Label {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"conntrackwatch_up netns=router":                                  1,
		"conntrackwatch_up netns=gone":                                    0,
		"conntrackwatch_events_total netns=router type=new":               40,
		"conntrackwatch_events_lost_total netns=router":                   12,
		"conntrackwatch_queue_packets netns=router queue=3":               0,
		"conntrackwatch_queue_dropped_total netns=router queue=3":         0,
		"conntrackwatch_conntrack_insert_failed_total cpu=0 netns=router": 0,
		"conntrackwatch_conntrack_entries netns=router":                   0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s: %v (there: %v), want %v", name, v, ok, want)
		}
	}
	for name := range got {
		if strings.Contains(name, "netns=gone") && !strings.HasPrefix(name, "conntrackwatch_up") {
			t.Errorf("%s for a namespace that cannot be read", name)
		}
	}
}
