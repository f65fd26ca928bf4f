package live

import "strings"

// glyphs are the bars of a sparkline, from nothing to full.
type glyphs []rune

var (
	// blocks are an eighth of a character's height each.
	blocks = glyphs("▁▂▃▄▅▆▇█")
	// plain is for terminals of other character sets than UTF-8.
	plain = glyphs("_.:-=+*#")
)

// history is the last values of one figure, nil where there was none.
type history struct {
	values []*float64
	size   int
}

func (h *history) add(v *float64) {
	h.values = append(h.values, v)
	if extra := len(h.values) - h.size; extra > 0 {
		h.values = h.values[extra:]
	}
}

// last is the newest value.
func (h *history) last() *float64 {
	if len(h.values) == 0 {
		return nil
	}
	return h.values[len(h.values)-1]
}

// peak is the highest of the newest width values: what a full bar of the sparkline stands for. nil: there is none.
func (h *history) peak(width int) (most *float64) {
	for _, v := range h.values[max(0, len(h.values)-width):] {
		if v != nil && (most == nil || *v > *most) {
			most = v
		}
	}
	return most
}

// sparkline draws the newest width values, their peak as a full bar. Zero has the lowest bar, no value a blank; so
// anything that happened at all is two bars high.
func (h *history) sparkline(width int, bars glyphs) string {
	most, values := h.peak(width), h.values[max(0, len(h.values)-width):]
	var line strings.Builder
	for range width - len(values) {
		line.WriteByte(' ')
	}
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
