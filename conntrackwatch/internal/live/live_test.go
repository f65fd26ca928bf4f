package live

import (
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"verdictd/conntrackwatch/internal/observe"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestSparkline(t *testing.T) {
	h := history{size: 6}
	for _, v := range []*float64{new(9.), new(0.), nil, new(0.5), new(4.), new(8.), new(2.)} {
		h.add(v)
	}
	if got := h.sparkline(6); got != "▁ ▂▅█▃" {
		t.Errorf("%q", got)
	}
	if got := h.sparkline(3); got != "▅█▃" {
		t.Errorf("%q, want the newest three", got)
	}
	if got := h.sparkline(8); got != "  ▁ ▂▅█▃" {
		t.Errorf("%q, want blanks where nothing was read yet", got)
	}
	if got := (&history{size: 3}).sparkline(2); got != "  " || (&history{}).last() != nil {
		t.Errorf("%q of nothing", got)
	}
}

func TestLiveModel(t *testing.T) {
	ns := testkit.Namespace(t)
	here := netlab.NetNSName{Name: "here", Path: ns.Path()}
	set, err := observe.OpenNamed([]netlab.NetNSName{here, here})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = set.Close() }()
	v, err := Watch(set)
	if err != nil {
		t.Fatal(err)
	}
	m := newModel(v, time.Second, "Linux")
	send := func(msg tea.Msg) tea.Cmd {
		_, cmd := m.Update(msg)
		return cmd
	}
	key := func(k rune) tea.Cmd { return send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{k}}) }
	send(tea.WindowSizeMsg{Width: 60, Height: 40})
	send(tickMsg(time.Now()))
	view := m.View()
	for _, c := range columns {
		if !strings.Contains(view, c.row) {
			t.Errorf("no row %s in\n%s", c.row, view)
		}
	}
	if strings.Count(view, "namespace here") != 2 {
		t.Errorf("want both namespaces in\n%s", view)
	}
	key('p')
	before := len(v.all[0].rows[0].values)
	send(tickMsg(time.Now()))
	if !strings.Contains(m.View(), "paused") || len(v.all[0].rows[0].values) != before {
		t.Errorf("paused, it reads on:\n%s", m.View())
	}
	key('p')
	key('j')
	if strings.Count(m.View(), "namespace here") != 1 {
		t.Errorf("scrolled down, want the second alone:\n%s", m.View())
	}
	key('k')
	send(tea.WindowSizeMsg{Width: 60, Height: 5})
	if n := strings.Count(m.View(), "\n"); n > 4 {
		t.Errorf("%d lines on a terminal of 5", n+1)
	}
	if err := set.Sources()[0].Close(); err != nil {
		t.Fatal(err)
	}
	send(tea.WindowSizeMsg{Width: 60, Height: 40})
	send(tickMsg(time.Now()))
	if !strings.Contains(m.View(), "watch network namespace here") {
		t.Errorf("no word of the namespace that can no longer be read:\n%s", m.View())
	}
	if cmd := key('q'); cmd == nil {
		t.Error("q does nothing")
	} else if _, quits := cmd().(tea.QuitMsg); !quits {
		t.Error("q does not quit")
	}
}
