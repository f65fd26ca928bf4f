package audit

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/liverules"
)

// Of a kernel's table: a listener, and one in a group of expectations.
const netlinkTable = `sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
00000000a6338432 12  2326096886 00000007 0        0        0     2        0        1201    
00000000c6338432 12  501        00000038 0        0        0     2        0        1203    
`

func TestListeners(t *testing.T) {
	listeners, err := readListeners(fstest.MapFS{"proc/thread-self/net/netlink": {Data: []byte(netlinkTable)}})
	if err != nil {
		t.Fatal(err)
	}
	if len(listeners) != 1 || listeners[0].PortID != 2326096886 || !slices.Equal(listeners[0].Groups, []string{"new", "update", "destroy"}) {
		t.Errorf("%+v, want the one with port id 2326096886, in all three groups", listeners)
	}
	if _, err := readListeners(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no table: %v", err)
	}
}

func TestEvents(t *testing.T) {
	there := kernelfacts.Reading[uint64]{}
	gone := kernelfacts.Reading[uint64]{Err: fs.ErrNotExist}
	setting := func(n uint64) kernelfacts.Reading[uint64] { return kernelfacts.Reading[uint64]{Value: n} }
	for _, test := range []struct {
		name      string
		events    kernelfacts.Reading[uint64]
		count     kernelfacts.Reading[uint64]
		listeners kernelfacts.Reading[[]Listener]
		want      liverules.Answer
	}{
		{"off", setting(0), there, kernelfacts.Reading[[]Listener]{Value: []Listener{{}}}, liverules.No},
		{"on", setting(1), there, kernelfacts.Reading[[]Listener]{}, liverules.Yes},
		{"auto, nobody here", setting(2), there, kernelfacts.Reading[[]Listener]{}, liverules.Unknown},
		{"auto, somebody", setting(2), there, kernelfacts.Reading[[]Listener]{Value: []Listener{{}}}, liverules.Yes},
		{"auto, unreadable", setting(2), there, kernelfacts.Reading[[]Listener]{Err: fs.ErrPermission}, liverules.Unknown},
		{"no conntrack", gone, gone, kernelfacts.Reading[[]Listener]{}, liverules.No},
		// Older kernels hide the setting in namespaces of ordinary users.
		{"hidden", gone, there, kernelfacts.Reading[[]Listener]{}, liverules.Unknown},
	} {
		e := Events{Listeners: test.listeners}
		e.conclude(kernelfacts.ConntrackSettings{Events: test.events, Count: test.count})
		if e.On != test.want || e.Meaning == "" {
			t.Errorf("%s: %s (%s), want %s", test.name, e.On, e.Meaning, test.want)
		}
	}
}
