package live

import (
	"strings"
	"testing"
	"time"
	"unicode"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"

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
	if got := h.sparkline(6, blocks); got != "▁ ▂▅█▃" {
		t.Errorf("%q", got)
	}
	if got := h.sparkline(3, blocks); got != "▅█▃" {
		t.Errorf("%q, want the newest three", got)
	}
	if got := h.sparkline(8, blocks); got != "  ▁ ▂▅█▃" {
		t.Errorf("%q, want blanks where nothing was read yet", got)
	}
	if got := h.sparkline(8, plain); got != "  _ .=#:" {
		t.Errorf("%q", got)
	}
	if peak := h.peak(6); peak == nil || *peak != 8 {
		t.Errorf("peak %v, want that of what is drawn", peak)
	}
	if got := (&history{size: 3}).sparkline(2, blocks); got != "  " || (&history{}).last() != nil {
		t.Errorf("%q of nothing", got)
	}
}

// fits checks what is seen on a terminal of some size: a clock on top, the keys at the bottom.
func fits(t *testing.T, view string, width, height int) {
	t.Helper()
	lines := strings.Split(view, "\n")
	if len(lines) > height {
		t.Errorf("%d lines on a terminal of %d", len(lines), height)
	}
	if !strings.Contains(lines[0], ":") || height > 1 && width >= 40 && !strings.Contains(lines[height-1], "q quit") {
		t.Errorf("no clock, or no keys, on %d columns and %d lines:\n%s", width, height, view)
	}
	for _, line := range lines[min(1, len(lines)):] {
		if n := lipgloss.Width(line); n > max(width, 40) {
			t.Errorf("%d columns on a terminal of %d: %s", n, width, line)
		}
	}
}

// shown is the view of a namespace that is there twice.
type shown struct {
	*model
	set *observe.Set
}

func show(t *testing.T) shown {
	t.Helper()
	here := netlab.NetNSName{Name: "here", Path: testkit.Namespace(t).Path()}
	set, err := observe.OpenNamed([]netlab.NetNSName{here, here})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set.Close() })
	v, err := Watch(set)
	if err != nil {
		t.Fatal(err)
	}
	return shown{newModel(v, time.Second, "Linux"), set}
}

func (s shown) send(msg tea.Msg) tea.Cmd {
	_, cmd := s.Update(msg)
	return cmd
}

func (s shown) press(k rune) tea.Cmd { return s.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{k}}) }

// Every size of a terminal has a clock and the keys, none of them characters that it cannot show.
func TestLiveSizes(t *testing.T) {
	m := show(t)
	m.bars = plain
	m.send(tickMsg(time.Now()))
	for _, width := range []int{20, 40, 80, 200} {
		for _, height := range []int{1, 2, 5, 24} {
			m.send(tea.WindowSizeMsg{Width: width, Height: height})
			fits(t, m.View(), width, height)
			m.press('?')
			fits(t, m.View(), width, height)
			m.press('?')
		}
	}
	for _, r := range m.View() {
		if r > unicode.MaxASCII {
			t.Errorf("%q where the locale has ASCII alone", r)
		}
	}
	m.press('?')
	if view := m.View(); !strings.Contains(view, "quit") || !strings.Contains(view, columns[0].meaning[:20]) {
		t.Errorf("want keys and what the rows count in\n%s", view)
	}
	m.send(tea.WindowSizeMsg{Width: 40, Height: 5})
	m.press('G')
	if view := m.View(); !strings.Contains(view, columns[len(columns)-1].meaning[:9]) {
		t.Errorf("scrolled to the end of the help, want it in\n%s", view)
	}
	m.press('?')
}

func TestLiveModel(t *testing.T) {
	m := show(t)
	v, set, send, key := m.all, m.set, m.send, m.press
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
