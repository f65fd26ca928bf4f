package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// Live is what a view on a terminal shows, reading after reading.
type Live interface {
	// Read takes the next reading. It may take its time, as keys are heard meanwhile, and
	// returns what puts the reading in place. Of those two functions and the others only
	// Read runs beside the rest.
	Read(ctx context.Context) (put func())
	// Title says what is seen: its name and, behind two blanks, what else there is room for.
	Title() string
	// Head are the lines that always stay, Blocks those that scroll, a block at a time.
	// What is too long is cut.
	Head(Look) []string
	Blocks(Look) [][]string
	// Help explains the figures, a paragraph each.
	Help() []string
}

// Look is what there is to draw on.
type Look struct {
	// Width is in columns; it may be anything from 1 on.
	Width int
	// ASCII: the locale knows no other characters.
	ASCII bool
	// Plain: no colours, as nothing is a terminal.
	Plain bool
}

var (
	bold  = ansi.Style{}.Bold()
	faint = ansi.Style{}.Faint()
	alarm = ansi.Style{}.Bold().ForegroundColor(ansi.Red)
)

// Bold is for heads.
func (l Look) Bold(s string) string { return l.styled(bold, s) }

// Alarm is for what should not be.
func (l Look) Alarm(s string) string { return l.styled(alarm, s) }

// Faint is for what explains.
func (l Look) Faint(s string) string { return l.styled(faint, s) }

// Wrap breaks a text into lines of the width, where words end if they do.
func (l Look) Wrap(text string) []string {
	const hyphen, whole = "-", "\u2011" // words such as -I stay whole
	text = ansi.Wrap(strings.ReplaceAll(text, hyphen, whole), max(l.Width, 20), "")
	return strings.Split(strings.ReplaceAll(text, whole, hyphen), "\n")
}

func (l Look) styled(style ansi.Style, s string) string {
	if l.Plain || s == "" {
		return s
	}
	return style.Styled(s)
}

// View draws a terminal until q or the end of ctx.
func View(ctx context.Context, live Live, every time.Duration, terminal io.Writer) error {
	m := newView(ctx, live, every)
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithOutput(terminal), tea.WithoutSignalHandler()).Run()
	if asked := errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil; err != nil && !asked {
		return fmt.Errorf("draw the view: %w", err)
	}
	return nil
}

// Frame is a view once, as lines for whatever is no terminal.
func Frame(live Live, width int) string {
	l := Look{Width: width, ASCII: true, Plain: true}
	lines := append([]string{live.Title()}, live.Head(l)...)
	lines = append(lines, slices.Concat(live.Blocks(l)...)...)
	for i, line := range lines {
		lines[i] = strings.TrimRight(ansi.Truncate(line, width, ""), " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// view is bubbletea's model: the state of a view.
type view struct {
	ctx    context.Context //nolint:containedctx // bubbletea starts readings without one
	live   Live
	every  time.Duration
	look   Look
	height int
	first  int // block at the top
	paused bool
	help   bool
	line   int       // of the help, at the top
	at     time.Time // of the last reading
}

func newView(ctx context.Context, live Live, every time.Duration) *view {
	return &view{ctx: ctx, live: live, every: every, look: Look{Width: 80, ASCII: !IsUTF8()}, height: 24}
}

type (
	tickMsg struct{}
	readMsg struct{ put func() }
)

// tick has the next reading come when it is due.
func (v *view) tick(after time.Duration) tea.Cmd {
	return tea.Tick(after, func(time.Time) tea.Msg { return tickMsg{} })
}

// read takes a reading beside the view.
func (v *view) read() tea.Msg { return readMsg{v.live.Read(v.ctx)} }

// Init implements tea.Model.
func (v *view) Init() tea.Cmd { return v.read }

// Update implements tea.Model.
func (v *view) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		v.look.Width, v.height = max(msg.Width, 1), msg.Height
	case tickMsg:
		if v.paused {
			return v, v.tick(v.every)
		}
		return v, v.read
	case readMsg:
		msg.put()
		v.at = time.Now()
		return v, v.tick(v.every)
	case tea.KeyPressMsg:
		return v, v.key(msg.String())
	}
	return v, nil
}

// keysLine is what the last line says of the keys, in 40 columns.
const keysLine = "? help  q quit  p pause  arrows scroll"

// keysHelp is what the help says of them.
const keysHelp = "? h     this help, and back\nq Esc   quit\np Space pause, and go on\nj k     scroll (arrows, Home, End)\nCtrl+Z  suspend"

// far is behind any end.
const far = 1 << 30

// key is what a key does.
func (v *view) key(key string) tea.Cmd {
	switch key {
	case "q", "ctrl+c":
		return tea.Quit
	case "esc":
		if !v.help {
			return tea.Quit
		}
		v.help = false
	case "ctrl+z":
		return tea.Suspend
	case "?", "h", "f1":
		v.help, v.line = !v.help, 0
	case "p", "space":
		v.paused = !v.paused
	case "down", "j":
		v.scroll(1)
	case "up", "k":
		v.scroll(-1)
	case "home", "g":
		v.scroll(-far)
	case "end", "G":
		v.scroll(far)
	}
	return nil
}

// scroll has another block at the top, or another line of the help.
func (v *view) scroll(by int) {
	if v.help {
		v.line = max(0, v.line+by)
		return
	}
	v.first = max(0, min(v.first+by, len(v.live.Blocks(v.look))-1))
}

// View implements tea.Model.
func (v *view) View() tea.View {
	drawn := tea.NewView(strings.Join(v.lines(), "\n"))
	drawn.AltScreen = true
	return drawn
}

// lines are a line on top and one with the keys at the bottom, whatever is between them,
// none too long and not too many.
func (v *view) lines() []string {
	room := max(0, v.height-2)
	lines := v.body(room)
	lines = append(lines[:min(len(lines), room)], make([]string, max(0, room-len(lines)))...)
	lines = append(append([]string{v.top()}, lines...), faint.Styled(keysLine))
	lines = lines[:min(len(lines), max(v.height, 1))]
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, v.look.Width, "")
	}
	return lines
}

func (v *view) body(room int) []string {
	if v.help {
		lines := strings.Split("\n"+keysHelp+"\n", "\n")
		for _, paragraph := range v.live.Help() {
			lines = append(lines, v.look.Wrap(paragraph)...)
		}
		v.line = min(v.line, max(0, len(lines)-max(1, room)))
		return lines[v.line:]
	}
	blocks := v.live.Blocks(v.look)
	v.first = max(0, min(v.first, len(blocks)-1))
	return append(v.live.Head(v.look), slices.Concat(blocks[min(v.first, len(blocks)):]...)...)
}

// top is the first line: what gives way on a narrow terminal is at its end.
func (v *view) top() string {
	state := "every " + v.every.String()
	if v.paused {
		state = alarm.Styled("paused")
	}
	name, title, _ := strings.Cut(v.live.Title(), "  ")
	return bold.Styled(name) + "  " + v.at.Format(time.TimeOnly) + "  " + state + "  " + faint.Styled(title)
}
