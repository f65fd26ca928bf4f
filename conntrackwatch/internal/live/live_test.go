package live

import (
	"strings"
	"testing"

	"verdictd/conntrackwatch/internal/observe"
	"verdictd/internal/cli"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestScreen(t *testing.T) {
	ns := testkit.Namespace(t)
	here := netlab.NetNSName{Name: "here", Path: ns.Path()}
	set, err := observe.OpenNamed([]netlab.NetNSName{here, here})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = set.Close() }()
	w, err := Watch(set)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{Watched: w, title: "conntrackwatch"}
	read := func() { s.Read(t.Context())() }
	read()
	text := cli.Frame(s, 60)
	for _, c := range columns {
		if !strings.Contains(text, c.row) {
			t.Errorf("no row %s in\n%s", c.row, text)
		}
	}
	if blocks := s.Blocks(cli.Look{Width: 60}); len(blocks) != 2 || strings.Count(text, "namespace here") != 2 {
		t.Errorf("%d blocks, want both namespaces in\n%s", len(blocks), text)
	}
	for _, width := range []int{1, 20, 40, 300} {
		for line := range strings.Lines(cli.Frame(s, width)) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > width {
				t.Errorf("a line of %d columns at %d: %q", n, width, line)
			}
		}
	}
	if err := set.Sources()[0].Close(); err != nil {
		t.Fatal(err)
	}
	read()
	if text := cli.Frame(s, 100); !strings.Contains(text, "watch network namespace here") {
		t.Errorf("no word of the namespace that can no longer be read:\n%s", text)
	}
}
