package runner

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"verdictd/daemon/internal/gate"
)

func TestParseQueue(t *testing.T) {
	for line, want := range map[string]gate.Reading{
		"    5   4242     7 2 65531     0     3       99  1\n":   {Queue: 5, Port: 4242, Waiting: 7, Lost: 3, Sequence: 99},
		"65535 4294967295 4294967295 2 65531 1 2 4294967295 1\n": {Queue: 65535, Port: 1<<32 - 1, Waiting: 1<<32 - 1, Lost: 2, Sequence: 1<<32 - 1},
	} {
		if got, ok := parseQueue([]byte(line)); !ok || got != want {
			t.Errorf("%q: %+v, %v; want %+v", line, got, ok, want)
		}
	}
	for _, line := range []string{
		"", "\n", "5 4242 7 2 65531 0 3\n", "5 4242 7 2 65531 0 3 99", "5 4242 seven 2 65531 0 3 99 1\n",
		"-5 4242 7 2 65531 0 3 99 1\n", "5 4294967296 7 2 65531 0 3 99 1\n",
	} {
		if got, ok := parseQueue([]byte(line)); ok {
			t.Errorf("%q: taken for %+v", line, got)
		}
	}
}

// reader reads files that a test has written in the place of the kernel's.
func reader(t *testing.T, queues, sockets string) *queueReader {
	t.Helper()
	open := func(name, text string) *os.File {
		name = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	q := &queueReader{
		queues: open("queues", queues), sockets: open("sockets", sockets), buf: make([]byte, 16), drops: map[uint32]uint32{},
		own: func(queue uint16) bool { return queue == 100 }, inOrder: func(queue uint16) (uint32, bool) { return 5, queue == 0 },
	}
	t.Cleanup(func() {
		if err := q.close(); err != nil {
			t.Error(err)
		}
	})
	return q
}

const socketsHeader = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"

func TestReadQueues(t *testing.T) {
	q := reader(t, "0 11 0 2 65531 0 0 7 1\n5 12 2 2 65531 0 1 9 1\n6 13 3 2 65531 0 0 9 1\n100 14 1 2 65531 0 0 1 1\n7 15 0 2 65531 0 0 1 1\n",
		socketsHeader+strings.Repeat("0 0 13 0 0 0 0 2 77 1\n", 50)+"0 12 12 0 0 0 0 2 0 1\n0 12 13 0 4352 0 0 2 4 1\n")
	q.apart.Store(&map[uint16]bool{7: true, 5: false})
	got, err := q.read()
	want := []gate.Reading{
		{Queue: 0, Port: 11, Sequence: 7, InOrder: true},
		{Queue: 5, Port: 12, Waiting: 2, Lost: 1, Sequence: 9},
		{Queue: 6, Port: 13, Waiting: 3, Lost: 4, Sequence: 9}, // what its socket lost
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if q.readEmpty(13) || !q.readEmpty(12) || q.readEmpty(11) {
		t.Error("of 12's socket alone is it known that it was read empty")
	}
}

func TestReadQueuesThatAreNotUnderstood(t *testing.T) {
	if got, err := reader(t, "0 11 0 2\n", socketsHeader).read(); err == nil || !strings.Contains(err.Error(), `"0 11 0 2"`) {
		t.Errorf("%+v, %v; want an error with the line", got, err)
	}
	if got, err := reader(t, "6 11 3 2 65531 0 0 7 1\n", socketsHeader+"0 12 11 0 0 0 0 2 many 1\n").read(); err == nil || !strings.Contains(err.Error(), "many") {
		t.Errorf("%+v, %v; want an error with the line", got, err)
	}
}
