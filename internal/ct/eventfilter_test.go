package ct

import (
	"context"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// TestFilterInKernel has the kernel filter, and holds what passes against the same filter over everything that there
// was.
func TestFilterInKernel(t *testing.T) {
	testkit.Namespace(t)
	zone := func(n uint16) *uint16 { return &n }
	filters := []Filter{
		{},
		{Family: unix.AF_INET6},
		{Family: unix.AF_INET},
		{Protocols: []vocabulary.Protocol{unix.IPPROTO_TCP}},
		{Protocols: []vocabulary.Protocol{unix.IPPROTO_ICMP, unix.IPPROTO_UDPLITE, unix.IPPROTO_ICMPV6, 253}},
		{Zone: zone(5)},
		{Zone: zone(0)},
		{Zone: zone(3)},
		{Zone: zone(77)},
		{Mark: &Mark{0x107, 0xffffffff}},
		{Mark: &Mark{0x100, 0xff00}},
		{Mark: &Mark{0, 0xff}},
		{Mark: &Mark{0x108, 0xffffffff}},
		{Family: unix.AF_INET, Protocols: []vocabulary.Protocol{unix.IPPROTO_UDP}, Zone: zone(0), Mark: &Mark{7, 7}},
		{Types: []EventType{EventNew}},
		{Types: []EventType{EventDestroy, EventUpdate}, Protocols: []vocabulary.Protocol{unix.IPPROTO_TCP}},
	}
	var listeners []*Listener
	for _, f := range filters {
		listeners = append(listeners, listen(t, ListenConfig{Filter: f}))
	}
	makeEntries(t)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var all []Event
	for i, l := range listeners {
		var passed []Event
		if _, err := l.Run(ctx, Handler{Event: func(e *Event) { passed = append(passed, *e) }}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			all = passed
		}
		f := filters[i]
		var want []Event
		for _, e := range all {
			if f.wants(e.Type) && f.match(&e) {
				want = append(want, e)
			}
		}
		if len(passed) != len(want) {
			t.Errorf("%+v: the kernel let %d of %d events pass, want %d", f, len(passed), len(all), len(want))
			continue
		}
		// Their order is not compared: events of two CPUs reach two listeners in either order.
		left := map[Event]int{}
		for _, e := range want {
			left[e]++
		}
		for _, e := range passed {
			if left[e]--; left[e] < 0 {
				t.Errorf("%+v: passed %+v, which is not wanted", f, e)
			}
		}
		none := f.Zone != nil && *f.Zone == 77 || f.Mark != nil && f.Mark.Value == 0x108
		if none != (len(want) == 0) && !(f.Zone != nil && *f.Zone == 3) { // zone 3 takes the program conntrack
			t.Errorf("%+v: %d events pass, so the test says nothing", f, len(want))
		}
		if i > 0 && len(want) == len(all) {
			t.Errorf("%+v lets everything pass, so the test says nothing", f)
		}
	}
}

func TestFilterRefused(t *testing.T) {
	for want, f := range map[string]Filter{
		"want AF_INET":   {Family: unix.AF_UNIX},
		"the mask hides": {Mark: &Mark{Value: 3, Mask: 1}},
		"65 protocols":   {Protocols: make([]vocabulary.Protocol, 65)},
	} {
		if _, err := Listen(ListenConfig{Filter: f}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", f, err, want)
		}
	}
	full := Filter{Protocols: make([]vocabulary.Protocol, maxProtocols), Family: unix.AF_INET, Mark: &Mark{1, 1}, Zone: new(uint16)}
	if program, err := full.program(); err != nil || len(program) == 0 {
		t.Errorf("the longest filter: %v", err)
	}
}
