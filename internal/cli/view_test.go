package cli

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// numbers are a view of many blocks that counts its readings.
type numbers struct{ readings, blocks int }

func (n *numbers) Read(context.Context) func() { return func() { n.readings++ } }
func (n *numbers) Title() string               { return "numbers  of a title that is rather long" }
func (n *numbers) Help() []string              { return []string{"what they mean"} }
func (n *numbers) Head(l Look) []string        { return []string{l.Bold("head")} }
func (n *numbers) Blocks(Look) (blocks [][]string) {
	for i := range n.blocks {
		blocks = append(blocks, []string{fmt.Sprintf("block %d", i), strings.Repeat("é", 400)})
	}
	return blocks
}

// seen is a view, its keys, and what it shows.
func seen(t *testing.T, n *numbers) (v *view, key func(string) tea.Cmd, text func() string) {
	t.Helper()
	v = newView(t.Context(), n, time.Second)
	key = func(k string) tea.Cmd {
		_, cmd := v.Update(tea.KeyPressMsg{Text: k, Code: []rune(k)[0]})
		return cmd
	}
	return v, key, func() string { return ansi.Strip(strings.Join(v.lines(), "\n")) }
}

func TestView(t *testing.T) {
	n := &numbers{blocks: 3}
	v, _, text := seen(t, n)
	read := func() { v.Update(v.read()) }
	read()
	if n.readings != 1 || !strings.Contains(text(), "block 0") {
		t.Errorf("%d readings, and\n%s", n.readings, text())
	}
	for _, size := range [][2]int{{1, 1}, {40, 5}, {80, 24}, {300, 100}} {
		v.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		lines := v.lines()
		if len(lines) > size[1] {
			t.Errorf("%d lines on a terminal of %d", len(lines), size[1])
		}
		for _, l := range lines {
			if w := ansi.StringWidth(l); w > size[0] {
				t.Errorf("%d columns on a terminal of %d: %q", w, size[0], l)
			}
		}
		if size[0] >= 40 && size[1] > 1 && !strings.Contains(text(), "? help") {
			t.Errorf("no word of the help at %d columns:\n%s", size[0], text())
		}
	}
}

func TestViewKeys(t *testing.T) {
	n := &numbers{blocks: 3}
	v, key, text := seen(t, n)
	key("j")
	key("j")
	key("j")
	if s := text(); strings.Contains(s, "block 1") || !strings.Contains(s, "block 2") {
		t.Errorf("scrolled to the end, want the last block alone:\n%s", s)
	}
	key("k")
	if s := text(); !strings.Contains(s, "block 1") {
		t.Errorf("scrolled up:\n%s", s)
	}
	n.blocks = 1 // what is seen has become less
	if s := text(); !strings.Contains(s, "block 0") {
		t.Errorf("one block is left, and not seen:\n%s", s)
	}
	key("?")
	if s := text(); !strings.Contains(s, "what they mean") || !strings.Contains(s, "q Esc   quit") || strings.Contains(s, "block") {
		t.Errorf("help:\n%s", s)
	}
	v.Update(tea.WindowSizeMsg{Width: 40, Height: 5})
	key("G")
	if s := text(); !strings.Contains(s, "what they mean") {
		t.Errorf("scrolled to the end of the help:\n%s", s)
	}
	key("?")
	key("p")
	if _, cmd := v.Update(tickMsg{}); !strings.Contains(text(), "paused") || cmd == nil {
		t.Errorf("paused:\n%s", text())
	}
	if cmd := key("q"); cmd == nil {
		t.Error("q does nothing")
	} else if _, quits := cmd().(tea.QuitMsg); !quits {
		t.Error("q does not quit")
	}
}

func TestFrame(t *testing.T) {
	text := Frame(&numbers{blocks: 1}, 40)
	if strings.Contains(text, "\x1b") || !strings.HasSuffix(text, "\n") {
		t.Errorf("%q", text)
	}
	for line := range strings.Lines(text) {
		if n := ansi.StringWidth(strings.TrimSuffix(line, "\n")); n > 40 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

func TestHistory(t *testing.T) {
	h := NewHistory(6)
	for _, v := range []*float64{new(9.), new(0.), nil, new(0.5), new(4.), new(8.), new(2.)} {
		h.Add(v)
	}
	for _, c := range []struct {
		width int
		ascii bool
		want  string
	}{
		{6, false, "▁ ▂▅█▃"}, {3, false, "▅█▃"}, {8, false, "  ▁ ▂▅█▃"}, {6, true, "_ .=#:"}, {0, false, ""}, {-1, false, ""},
	} {
		if got := h.Sparkline(c.width, c.ascii); got != c.want {
			t.Errorf("%d columns: %q, want %q", c.width, got, c.want)
		}
	}
	if *h.Peak(1) != 2 || *h.Peak(6) != 8 || h.Peak(0) != nil {
		t.Errorf("peaks %v and %v", *h.Peak(1), *h.Peak(6))
	}
	if got := NewHistory(3).Sparkline(2, false); got != "  " || (&History{}).Last() != nil {
		t.Errorf("%q of nothing", got)
	}
}
