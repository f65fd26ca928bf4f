package holders

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

	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

func TestMain(m *testing.M) { testkit.Main(m) }

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

func TestSockets(t *testing.T) {
	sockets, err := Sockets(fstest.MapFS{netlinkPath: {Data: []byte(netlinkTable)}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []Socket{{2326096886, 7, 1201}, {500, 0, 1202}, {501, 0x38, 1203}}; !slices.Equal(sockets, want) {
		t.Errorf("%+v, want %+v", sockets, want)
	}
	if _, err := Sockets(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no table: %v", err)
	}
	if _, err := Sockets(fstest.MapFS{netlinkPath: {Data: []byte("head\nwhat is this\n")}}); err == nil || !strings.Contains(err.Error(), "what is this") {
		t.Errorf("a table of another form: %v, want the line", err)
	}
}

// TestQueues finds this process.
func TestQueues(t *testing.T) {
	testkit.Namespace(t)
	q, err := nfq.Open(vocabulary.BackendMmsg, nfq.Config{Queue: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	held, err := Queues(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if p := held[10]; len(held) != 1 || p == nil || p.PID != os.Getpid() || p.Name == "" {
		t.Errorf("%v, want queue 10 and process %d", held, os.Getpid())
	}
}

func TestFind(t *testing.T) {
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
	found := find(context.Background(), proc, []Socket{{PortID: 7, Inode: 1201}, {PortID: 500, Inode: 1202}, {PortID: 9, Inode: 1203}})
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
