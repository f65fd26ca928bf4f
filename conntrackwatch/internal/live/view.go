package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"

	"verdictd/internal/cli"
	"verdictd/internal/kernelfacts"
)

// Widths of the view: of a row's name, of its value and its peak, and of the longest sparkline that is kept.
const (
	nameWidth  = 17
	valueWidth = 8
	kept       = 500
)

var (
	bold  = lipgloss.NewStyle().Bold(true)
	faint = lipgloss.NewStyle().Faint(true)
	alarm = lipgloss.NewStyle().Foreground(lipgloss.Color("1")).Bold(true)
)

// View draws a terminal until q or the end of ctx.
func View(ctx context.Context, all *Watched, every time.Duration, terminal io.Writer) error {
	release, err := kernelfacts.Release()
	if err != nil {
		return err
	}
	m := newModel(all, every, "Linux "+release)
	if !cli.IsUTF8() {
		m.bars = plain
	}
	_, err = tea.NewProgram(m, tea.WithContext(ctx), tea.WithOutput(terminal), tea.WithAltScreen(),
		tea.WithoutSignalHandler()).Run()
	if asked := errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil; err != nil && !asked {
		return fmt.Errorf("draw the view (--plain prints lines instead): %w", err)
	}
	return nil
}

// model is bubbletea's model: the state of the view.
type model struct {
	all      *Watched
	interval time.Duration
	title    string
	bars     glyphs
	width    int
	height   int
	first    int // namespace at the top
	read     time.Time
	paused   bool
	help     bool
	line     int // of the help, at the top
}

func newModel(all *Watched, interval time.Duration, title string) *model {
	return &model{all: all, interval: interval, title: title, bars: blocks, width: 80, height: 24, read: time.Now()}
}

type tickMsg time.Time

func (m *model) tick() tea.Cmd {
	return tea.Tick(m.interval, func(t time.Time) tea.Msg { return tickMsg(t) })
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return m.tick() }

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tickMsg:
		if !m.paused {
			m.next(time.Time(msg))
		}
		return m, m.tick()
	case tea.KeyMsg:
		return m, m.key(msg.String())
	}
	return m, nil
}

// far is behind any end.
const far = 1 << 30

// key is what a key does.
func (m *model) key(key string) tea.Cmd {
	switch key {
	case "q", "ctrl+c":
		return tea.Quit
	case "esc":
		if !m.help {
			return tea.Quit
		}
		m.help = false
	case "ctrl+z":
		return tea.Suspend
	case "?", "h", "f1":
		m.help, m.line = !m.help, 0
	case "p", " ":
		m.paused = !m.paused
	case "down", "j":
		m.scroll(1)
	case "up", "k":
		m.scroll(-1)
	case "home", "g":
		m.scroll(-far)
	case "end", "G":
		m.scroll(far)
	}
	return nil
}

// scroll has another namespace at the top, or another line of the help.
func (m *model) scroll(by int) {
	if m.help {
		m.line = max(0, m.line+by)
		return
	}
	m.first = max(0, min(m.first+by, len(m.all.all)-1))
}

// next takes the next reading of every namespace.
func (m *model) next(now time.Time) {
	m.read = now
	m.all.refresh()
	m.first = max(0, min(m.first, len(m.all.all)-1))
	for _, v := range m.all.all {
		f, err := v.step()
		for j, c := range columns {
			if err != nil {
				v.rows[j].add(nil)
			} else {
				v.rows[j].add(c.figure(f))
			}
		}
	}
}

// keys is what the last line says of them, in 40 columns.
const keys = "? help  q quit  p pause  arrows scroll"

// View implements tea.Model: a line on top and one with the keys at the bottom, whatever is between them.
func (m *model) View() string {
	lines := m.body()
	room := max(0, m.height-2)
	lines = append(lines[:min(len(lines), room)], make([]string, max(0, room-len(lines)))...)
	lines = append(append([]string{m.top()}, lines...), faint.Render(keys))
	return strings.Join(lines[:min(len(lines), max(m.height, 1))], "\n")
}

// top is the first line: what gives way on a narrow terminal is at its end.
func (m *model) top() string {
	state := "every " + m.interval.String()
	if m.paused {
		state = alarm.Render("paused")
	}
	return bold.Render("conntrackwatch") + "  " + m.read.Format(time.TimeOnly) + "  " + state + "  " + faint.Render(m.title)
}

func (m *model) body() (lines []string) {
	if m.help {
		return m.helpText()
	}
	for _, v := range m.all.all[min(m.first, len(m.all.all)):] {
		lines = append(lines, m.namespace(v)...)
	}
	return lines
}

// wrap breaks a text into lines as wide as the terminal.
func (m *model) wrap(text string) []string {
	return strings.Split(lipgloss.NewStyle().Width(max(m.width, 20)).Render(text), "\n")
}

// helpText says what the keys do and what the rows count.
func (m *model) helpText() []string {
	lines := m.wrap("\n? h     this help, and back\nq Esc   quit\np Space pause, and go on\nj k     scroll by a namespace, and" +
		"\n        here by a line (arrows, Home, End)\nCtrl+Z  suspend\n\nThe bars of a row go from 0 to its peak on the screen; a blank is a reading" +
		" without a value. Rates are of things that should not happen, and red above 0.\n")
	for _, c := range columns {
		lines = append(lines, m.wrap(bold.Render(c.row)+"  "+c.meaning)...)
	}
	m.line = min(m.line, max(0, len(lines)-max(1, m.height-2)))
	return lines[m.line:]
}

// namespace draws one.
func (m *model) namespace(v *watched) []string {
	width := min(kept, max(0, m.width-nameWidth-2*valueWidth-2))
	lines := []string{"", bold.Render("namespace " + v.source.Name)}
	if err := v.failed; err != nil {
		lines = append(lines, m.wrap(alarm.Render(err.Error()))...)
	}
	span := "last " + (time.Duration(width) * m.interval).Round(time.Second).String()
	if len(span) > width {
		span = ""
	}
	lines = append(lines, faint.Render(fmt.Sprintf("%-*s%*s%*s  %*s", nameWidth, "", valueWidth, "now", valueWidth, "peak", width, span)))
	for j, c := range columns {
		h := &v.rows[j]
		value := fmt.Sprintf("%*s", valueWidth, c.text(h.last()))
		if last := h.last(); last != nil && *last > 0 && strings.HasSuffix(c.row, "/s") {
			value = alarm.Render(value) // each rate here is of something that should not happen
		}
		lines = append(lines, fmt.Sprintf(" %-*s%s%*s  %s", nameWidth-1, c.row, value, valueWidth, c.text(h.peak(width)),
			h.sparkline(width, m.bars)))
	}
	return lines
}
