package ct

import (
	"bufio"
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"verdictd/internal/netlab"
	"verdictd/internal/nfnl"
	"verdictd/internal/testkit"
)

// conntrackLines returns the lines of `conntrack -E` for what f brings about in the namespace of the test, of
// which there are some number.
func conntrackLines(t *testing.T, ns *netlab.NetNS, f func(), want func() int) []string {
	t.Helper()
	program, err := exec.LookPath("conntrack")
	if err != nil {
		t.Skipf("no conntrack on this machine: %v", err)
	}
	var remarks bytes.Buffer
	cmd := exec.Command(program, "-E")
	cmd.Stderr = &remarks
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	testkit.AwaitListeners(t, ns, 2)
	f()
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	var all []string
	for n := want(); len(all) < n; {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatalf("conntrack ended after %d of %d lines: %s", len(all), n, &remarks)
			}
			all = append(all, line)
		case <-time.After(20 * time.Second):
			t.Fatalf("conntrack wrote %d lines, want %d: %s", len(all), n, &remarks)
		}
	}
	return all
}

var progname = regexp.MustCompile(` progname=\S+$`)

// TestLinesEqualConntracks writes each event and holds the lines against those of conntrack. Their order is not
// compared: events of two CPUs reach two listeners in either order.
func TestLinesEqualConntracks(t *testing.T) {
	ns := testkit.Namespace(t)
	l := listen(t, ListenConfig{})
	var datagrams [][]byte
	want := conntrackLines(t, ns, func() { makeEntries(t) }, func() int {
		recv := nfnl.NewReceiver(1024, eventLen)
		n, err := recv.Receive(l.socket, false)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			b, _ := recv.Datagram(i)
			datagrams = append(datagrams, b)
		}
		return n
	})
	left := make(map[string]int)
	for _, line := range want {
		// conntrack names the program of a port id that is a process's.
		left[progname.ReplaceAllString(strings.TrimRight(line, " "), "")]++
	}
	for _, b := range datagrams {
		m, _ := nfnl.Head(b)
		var e Event
		if !e.decode(&m) {
			t.Fatalf("%x: no event", b)
		}
		line := string(e.AppendText(nil))
		if left[line]--; left[line] < 0 {
			t.Errorf("conntrack did not write %q", line)
		}
	}
	for line, n := range left {
		if n > 0 {
			t.Errorf("conntrack alone wrote %q", line)
		}
	}
	for _, word := range []string{" SYN_SENT2 ", " helper=ftp", "dccp     33 "} {
		if !strings.Contains(strings.Join(want, "\n"), word) {
			t.Logf("no line with %q was compared", word)
		}
	}
	if len(datagrams) < 20 {
		t.Errorf("%d lines were compared, want more", len(datagrams))
	}
}
