package gate

import (
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	var c Clock
	began := c.Pass(int64(time.Hour))
	for _, tt := range []struct{ now, ran time.Duration }{
		{time.Hour, 0},
		{time.Hour + time.Millisecond, time.Millisecond},
		{time.Hour + 251*time.Millisecond, 251 * time.Millisecond},
		{2 * time.Hour, 501 * time.Millisecond},
		{2*time.Hour + time.Second/10, 601 * time.Millisecond},
	} {
		if ran := c.Pass(int64(tt.now)) - began; ran != int64(tt.ran) {
			t.Errorf("at %v it ran for %v, want %v", tt.now, time.Duration(ran), tt.ran)
		}
	}
}
