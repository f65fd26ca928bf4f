package live

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"verdictd/conntrackwatch/internal/observe"
)

// Watched is a namespace under watch.
type Watched struct {
	source *observe.Source
	last   observe.Reading
	failed error
}

// Watch takes the first reading of a source.
func Watch(source *observe.Source) (*Watched, error) {
	first, err := source.Read()
	if err != nil {
		return nil, err
	}
	return &Watched{source: source, last: first}, nil
}

// step reads, and says what happened since the step before. After an error the next step spans both.
func (w *Watched) step() (observe.Figures, error) {
	now, err := w.source.Read()
	w.failed = err
	if err != nil {
		return observe.Figures{}, err
	}
	f := observe.Between(w.last, now)
	w.last = now
	return f, nil
}

// Lines prints one for each namespace and interval until ctx is done, as JSON or with columns as wide as their heads. A
// namespace that cannot be read is a remark.
func Lines(ctx context.Context, all []*Watched, every time.Duration, asJSON bool, results, remarks io.Writer) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	const page = 20 // intervals to a header, as vmstat has it
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if n%page == 0 && !asJSON {
			if err := writeRow(results, heads()); err != nil {
				return err
			}
		}
		for _, v := range all {
			f, err := v.step()
			switch {
			case err != nil:
				fmt.Fprintf(remarks, "conntrackwatch: %v\n", err)
				continue
			case asJSON:
				err = json.NewEncoder(results).Encode(newSample(v.source.Name, f))
			default:
				err = writeRow(results, cells(v.source.Name, f))
			}
			if err != nil {
				return fmt.Errorf("write the figures: %w", err)
			}
		}
	}
}
