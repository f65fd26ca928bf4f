package cli

import "strings"

// Bars of a character, from the lowest to the highest.
const (
	bars      = "▁▂▃▄▅▆▇█" // an eighth of a character's height each
	barsASCII = "_.:-=+*#"
)

// History is the last values of one figure, nil where there was none.
type History struct {
	values []*float64
	size   int
}

// NewHistory keeps so many values.
func NewHistory(size int) *History { return &History{size: size} }

// Add takes the next value.
func (h *History) Add(v *float64) {
	h.values = append(h.values, v)
	if extra := len(h.values) - h.size; extra > 0 {
		h.values = h.values[extra:]
	}
}

// Last is the newest value.
func (h *History) Last() *float64 {
	if len(h.values) == 0 {
		return nil
	}
	return h.values[len(h.values)-1]
}

// Peak is the highest of the newest values that a width has room for: what a full bar of the sparkline stands for. nil:
// there is none.
func (h *History) Peak(width int) (most *float64) {
	for _, v := range h.newest(width) {
		if v != nil && (most == nil || *v > *most) {
			most = v
		}
	}
	return most
}

func (h *History) newest(width int) []*float64 { return h.values[max(0, len(h.values)-max(0, width)):] }

// Sparkline draws the newest width values, the highest of them as a full bar. Zero has
// the lowest bar, no value a blank; so anything that happened at all is two bars high.
func (h *History) Sparkline(width int, ascii bool) string {
	bars := []rune(bars)
	if ascii {
		bars = []rune(barsASCII)
	}
	values, most := h.newest(width), h.Peak(width)
	var line strings.Builder
	line.WriteString(strings.Repeat(" ", max(0, width-len(values))))
	for _, v := range values {
		switch {
		case v == nil:
			line.WriteByte(' ')
		case *v <= 0:
			line.WriteRune(bars[0])
		default:
			line.WriteRune(bars[1+int(*v / *most * float64(len(bars)-2))])
		}
	}
	return line.String()
}
