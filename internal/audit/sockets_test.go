package audit

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"verdictd/internal/kernel"
	"verdictd/internal/liverules"
)

// Of a 6.18 kernel, while conntrack -E ran: a queue's socket, the listener's, one
// in a group of expectations, and others.
const netlinkTable = `sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
00000000e4164934 0   0          00000000 0        0        0     2        0        4       
0000000016338432 12  0          00000000 0        0        0     2        0        1200    
00000000a6338432 12  2326096886 00000007 0        0        0     2        0        1201    
00000000b6338432 12  500        00000000 0        0        0     2        0        1202    
00000000c6338432 12  501        00000038 0        0        0     2        0        1203    
00000000d6338432 15  502        00000003 0        0        0     2        0        1204    
`

func TestListeners(t *testing.T) {
	listeners, err := readListeners(fstest.MapFS{netlinkPath: {Data: []byte(netlinkTable)}})
	if err != nil {
		t.Fatal(err)
	}
	if len(listeners) != 1 || listeners[0].PortID != 2326096886 || !slices.Equal(listeners[0].Groups, []string{"new", "update", "destroy"}) {
		t.Errorf("%+v, want the one with port id 2326096886, in all three groups", listeners)
	}
	if _, err := readListeners(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no table: %v", err)
	}
	if _, err := readListeners(fstest.MapFS{netlinkPath: {Data: []byte("head\nwhat is this\n")}}); err == nil || !strings.Contains(err.Error(), "what is this") {
		t.Errorf("a table of another form: %v, want the line", err)
	}
}

func TestProcessesOf(t *testing.T) {
	proc := t.TempDir()
	process := func(pid, name string, files ...string) {
		folder := filepath.Join(proc, pid, "fd")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "comm"), []byte(name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.Symlink(f, filepath.Join(folder, filepath.Base(f))); err != nil {
				t.Fatal(err)
			}
		}
	}
	process("10", "owner", "/dev/null", "socket:[1201]")
	process("500", "hidden")
	found := processesOf(context.Background(), proc, []netlinkSocket{{portID: 7, inode: 1201}, {portID: 500, inode: 1202}, {portID: 9, inode: 1203}})
	if p := found[7]; p == nil || *p != (Process{PID: 10, Name: "owner"}) {
		t.Errorf("by its file: %+v", p)
	}
	if p := found[500]; p == nil || *p != (Process{PID: 500, Name: "hidden", Guessed: true}) {
		t.Errorf("by its number: %+v", p)
	}
	if p := found[9]; p != nil {
		t.Errorf("nobody's: %+v", p)
	}
}

func TestEvents(t *testing.T) {
	there := kernel.Reading[uint64]{}
	gone := kernel.Reading[uint64]{Err: fs.ErrNotExist}
	setting := func(n uint64) kernel.Reading[uint64] { return kernel.Reading[uint64]{Value: n} }
	for _, test := range []struct {
		name      string
		events    kernel.Reading[uint64]
		count     kernel.Reading[uint64]
		listeners kernel.Reading[[]Listener]
		want      liverules.Answer
	}{
		{"off", setting(0), there, kernel.Reading[[]Listener]{Value: []Listener{{}}}, liverules.No},
		{"on", setting(1), there, kernel.Reading[[]Listener]{}, liverules.Yes},
		{"auto, nobody", setting(2), there, kernel.Reading[[]Listener]{}, liverules.No},
		{"auto, somebody", setting(2), there, kernel.Reading[[]Listener]{Value: []Listener{{}}}, liverules.Yes},
		{"auto, unreadable", setting(2), there, kernel.Reading[[]Listener]{Err: fs.ErrPermission}, liverules.Unknown},
		{"no conntrack", gone, gone, kernel.Reading[[]Listener]{}, liverules.No},
		// Older kernels hide the setting in namespaces of ordinary users.
		{"hidden", gone, there, kernel.Reading[[]Listener]{}, liverules.Unknown},
	} {
		e := Events{Listeners: test.listeners}
		e.conclude(kernel.ConntrackSettings{Events: test.events, Count: test.count})
		if e.On != test.want || e.Meaning == "" {
			t.Errorf("%s: %s (%s), want %s", test.name, e.On, e.Meaning, test.want)
		}
	}
}
