package journal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/statistics"
	"verdictd/internal/testkit"
)

// sendMarked sends n packets of 1,400 bytes with numbers from first on, of which odd ones are marked far
// behind the headers.
func sendMarked(t *testing.T, out *net.UDPConn, first, n int) {
	t.Helper()
	for i := first; i < first+n; i++ {
		b := make([]byte, 1400)
		if b[0] = byte(i); i%2 == 1 {
			copy(b[1000:], "mark")
		}
		if _, err := out.Write(b); err != nil {
			t.Fatal(err)
		}
	}
}

// wantUnmarked receives n packets, each once and none of which is marked.
func wantUnmarked(t *testing.T, in *net.UDPConn, n int) {
	t.Helper()
	var got []byte
	b := make([]byte, 2048)
	for len(got) < n {
		if err := in.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Read(b); err != nil {
			t.Fatalf("%d of %d came: %v", len(got), n, err)
		}
		if b[0]%2 == 1 || bytes.IndexByte(got, b[0]) >= 0 {
			t.Errorf("packet %d came", b[0])
		}
		got = append(got, b[0])
	}
}

// TestCopiesOfBefore: packets wait that were copied for rules on headers, and the daemon is killed. The next
// one has rules that look further. It judges by these what was left, what came while there was no daemon, and
// what comes now.
func TestCopiesOfBefore(t *testing.T) {
	const (
		each   = 12 // packets of one flow
		marked = "    - {name: marked, payload: [{offset: 1000, bytes: \"6d61726b\"}], action: drop}\n"
	)
	for _, mode := range []string{"off", "hold"} {
		t.Run(mode, func(t *testing.T) {
			ns := testkit.Namespace(t)
			file := filepath.Join(t.TempDir(), "statistics.json")
			more := fmt.Sprintf("statistics: {file: %q}\n", file)
			// The first packet is judged for so long that the daemon is killed meanwhile.
			k := newKeeper(t, ns, settings(mode, 1, more+"analysis: {distribution: fixed, delay: 60s}\n"))
			in, out := listen(t, ns, port), dial(t, ns, port)
			sendMarked(t, out, 0, each)
			waits := func() bool { // all of them, and some for a verdict
				l := &load{t: t, ns: ns}
				return l.queued() == each && l.queuedIn(0) > 0
			}
			for until := time.Now().Add(10 * time.Second); !waits() && time.Now().Before(until); {
				time.Sleep(time.Millisecond)
			}
			k.end(unix.SIGKILL)
			sendMarked(t, out, each, each)
			k.configure(settings(mode, 1, marked+more))
			k.start()
			sendMarked(t, out, 2*each, each)
			wantUnmarked(t, in, 3*each/2)
			k.end(syscall.SIGTERM)
			if err := in.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if n, err := in.Read(make([]byte, 2048)); err == nil {
				t.Errorf("a packet of %d bytes came too many", n)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var d statistics.Document
			if err := json.Unmarshal(text, &d); err != nil {
				t.Fatal(err)
			}
			if c := d.Total; c.CopiedAgain == 0 || c.Undecodable+c.Truncated+c.VerdictErrors != 0 || c.Received != 3*each || c.Dropped != 3*each/2 {
				t.Errorf("%+v", c)
			}
			k.clean()
		})
	}
}

// TestRangeOfTheNext: a daemon that is started with another copy range tells it to the queue that it
// takes over, upwards and downwards, and loses nothing.
func TestRangeOfTheNext(t *testing.T) {
	ns := testkit.Namespace(t)
	copied := func(text string) string {
		return strings.Replace(settings("off", 1, ""), "first: 0", "first: 0, copy_range: "+text, 1)
	}
	k := newKeeper(t, ns, copied("auto"))
	l := begin(t, ns, rate(t), false)
	l.clashing = true
	l.moves = 1 << 20 // what is copied again comes behind what waits
	for _, text := range []string{"0", "30", "65531", "auto", "30"} {
		time.Sleep(50 * time.Millisecond)
		k.configure(copied(text))
		k.end(unix.SIGKILL)
		k.start()
	}
	if wrong := l.finish(); wrong != "" {
		t.Error(wrong)
	}
	k.end(syscall.SIGTERM)
	k.clean()
}
