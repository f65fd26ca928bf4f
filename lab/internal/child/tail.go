package child

import (
	"strings"
	"sync"
)

// A Tail keeps the end of what a child wrote. It is written to by one goroutine and may be read by others.
type Tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 16 << 10

// Write keeps the last tailSize bytes.
func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if cut := len(t.buf) - tailSize; cut > 0 {
		t.buf = append(t.buf[:0], t.buf[cut:]...)
	}
	return len(b), nil
}

// Quote is the last lines, at most so many, for the end of an error message, and empty if nothing was written. Of a
// crash it is the reason, which stands before the stacks of all goroutines.
func (t *Tail) Quote(most int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for line := range strings.Lines(string(t.buf)) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return ": " + strings.TrimSpace(line)
		}
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return ": " + strings.Join(lines[max(0, len(lines)-most):], " | ")
}
