package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"verdictd/conntrackwatch/internal/trace"
	"verdictd/internal/cli"
	"verdictd/internal/testkit"
)

// Where the machine lets programs trace, the command traces and ends; where not, it says by what, and what else there
// is.
func TestTraceHere(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"trace", "--duration", "100ms", "--json"}, output{&stdout, &stderr})
	if status == cli.Done {
		var s trace.Summary
		lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil || s.Kind != "summary" || s.Netns == 0 ||
			len(s.Probes) == 0 {
			t.Errorf("%v, the last line is %s", err, lines[len(lines)-1])
		}
		return
	}
	text := stderr.String()
	t.Log(text)
	if status != cli.Failed || stdout.Len() > 0 {
		t.Errorf("status %d, stdout %q", status, &stdout)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "conntrackwatch: ") {
			t.Errorf("line %d is %q", i, line)
		}
	}
	if !strings.HasPrefix(lines[0], "conntrackwatch: tried ") {
		t.Errorf("what was tried is not said: %s", lines[0])
	}
	if !strings.Contains(text, "`conntrackwatch stats` counts clashes") || !strings.Contains(text, "verdictd counts") {
		t.Error("what else shows clashes is not said")
	}
	if !strings.HasPrefix(lines[len(lines)-1], "conntrackwatch: tracing is refused: ") {
		t.Errorf("the last line is %q", lines[len(lines)-1])
	}
	if os.Geteuid() == 0 && strings.Contains(text, "MEMLOCK") {
		t.Error("the limit on locked memory is blamed")
	}
}

func TestTraceNetns(t *testing.T) {
	ns, other := testkit.VethPair(t)
	inode := func(c traceCmd) uint32 {
		t.Helper()
		n, err := c.netns()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	own := inode(traceCmd{})
	if own == 0 || own != inode(traceCmd{NetNS: ns.Path()}) {
		t.Errorf("this namespace is %d, by its path %d", own, inode(traceCmd{NetNS: ns.Path()}))
	}
	if inode(traceCmd{NetNS: other.Path()}) == own {
		t.Error("another namespace has the same inode")
	}
	if n := inode(traceCmd{AllNetNS: true}); n != 0 {
		t.Errorf("all namespaces are %d", n)
	}
	c := traceCmd{NetNS: "no-such-namespace"}
	if _, err := c.netns(); err == nil || !strings.Contains(err.Error(), "no-such-namespace") {
		t.Errorf("of one that does not exist: %v", err)
	}
}

func TestTraceUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--buffer", "5000"}, {"--duration", "-1s"}, {"--method", "uprobe"}, {"--function", "nf_conntrack_in"},
		{"--count", "-1"}, {"more"},
		{"--netns", "x", "--all-netns"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), append([]string{"trace"}, args...), output{&stdout, &stderr}); status != cli.Usage ||
			stderr.Len() == 0 || stdout.Len() > 0 {
			t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, &stdout, &stderr)
		}
	}
}
