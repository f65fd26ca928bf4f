package live

import "strings"

// bars are an eighth of a character's height each.
var bars = []rune("▁▂▃▄▅▆▇█")

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

// sparkline draws the newest width values, the highest of them as a full bar. Zero has the lowest bar, no value a
// blank; so anything that happened at all is two bars high.
func (h *history) sparkline(width int) string {
	values := h.values[max(0, len(h.values)-width):]
	most := 0.
	for _, v := range values {
		if v != nil {
			most = max(most, *v)
		}
	}
	var line strings.Builder
	for range width - len(values) {
		line.WriteByte(' ')
	}
	for _, v := range values {
		switch {
		case v == nil:
			line.WriteByte(' ')
		case *v <= 0 || most == 0:
			line.WriteRune(bars[0])
		default:
			line.WriteRune(bars[1+int(*v/most*float64(len(bars)-2))])
		}
	}
	return line.String()
}
