package events

import (
	"fmt"
	"io"
	"time"

	"verdictd/internal/ct"
)

// Samples writes rows of what was counted since the row before.
type Samples struct {
	before ct.EventCounts
	rows   int
}

// Write writes the next row.
func (s *Samples) Write(w io.Writer, now ct.EventCounts) error {
	const page = 20 // rows to a header
	if s.rows%page == 0 {
		fmt.Fprintf(w, "%-8s %10s %10s %10s %10s\n", "time", "new", "update", "destroy", "lost")
	}
	s.rows++
	before := s.before
	s.before = now
	_, err := fmt.Fprintf(w, "%-8s %10d %10d %10d %10d\n", time.Now().Format("15:04:05"),
		now.Total.New-before.Total.New, now.Total.Update-before.Total.Update, now.Total.Destroy-before.Total.Destroy,
		now.LostEvents.N-before.LostEvents.N)
	if err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
