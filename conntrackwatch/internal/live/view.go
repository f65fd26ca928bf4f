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

	"verdictd/internal/kernelfacts"
)

// Widths of the view: of a row's name and value, and of the longest sparkline that is kept.
const (
	nameWidth  = 18
	valueWidth = 12
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
	width    int
	height   int
	first    int // namespace at the top
	paused   bool
}

func newModel(all *Watched, interval time.Duration, title string) *model {
	return &model{all: all, interval: interval, title: title, width: 80, height: 24}
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
			m.read()
		}
		return m, m.tick()
	case tea.KeyMsg:
		switch msg.String() {
		case "q", "ctrl+c", "esc":
			return m, tea.Quit
		case "p", " ":
			m.paused = !m.paused
		case "down", "j":
			m.first = max(0, min(m.first+1, len(m.all.all)-1))
		case "up", "k":
			m.first = max(m.first-1, 0)
		}
	}
	return m, nil
}

// read takes the next reading of every namespace.
func (m *model) read() {
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

// View implements tea.Model.
func (m *model) View() string {
	state := "every " + m.interval.String()
	if m.paused {
		state = "paused"
	}
	lines := []string{bold.Render("conntrackwatch") + "  " + m.title + "  " +
		faint.Render(state+"; q quits, p pauses, arrows scroll")}
	for _, v := range m.all.all[min(m.first, len(m.all.all)):] {
		lines = append(lines, m.namespace(v)...)
	}
	if len(lines) > m.height {
		lines = lines[:m.height]
	}
	return strings.Join(lines, "\n")
}

// namespace draws one.
func (m *model) namespace(v *watched) []string {
	lines := []string{"", bold.Render("namespace " + v.source.Name)}
	if err := v.failed; err != nil {
		lines = append(lines, alarm.Render(err.Error()))
	}
	for j, c := range columns {
		h := &v.rows[j]
		value := fmt.Sprintf("%*s", valueWidth, c.text(h.last()))
		if last := h.last(); last != nil && *last > 0 && strings.HasSuffix(c.row, "/s") {
			value = alarm.Render(value) // each rate here is of something that should not happen
		}
		lines = append(lines, fmt.Sprintf("  %-*s%s  %s", nameWidth, c.row, value,
			h.sparkline(max(0, m.width-nameWidth-valueWidth-5))))
	}
	return lines
}
