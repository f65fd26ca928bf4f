package live

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"verdictd/conntrackwatch/internal/observe"
	"verdictd/internal/cli"
)

// Watched are the namespaces under watch, which come and go.
type Watched struct {
	set *observe.Set
	all []*watched
}

// watched is one of them.
type watched struct {
	source *observe.Source
	last   observe.Reading
	failed error
	rows   []*cli.History // by column
}

// Watch takes the first reading of each namespace of a set.
func Watch(set *observe.Set) (*Watched, error) {
	w := &Watched{set: set}
	for _, source := range set.Sources() {
		one := newWatched(source)
		if one.failed != nil {
			return nil, one.failed
		}
		w.all = append(w.all, one)
	}
	return w, nil
}

func newWatched(source *observe.Source) *watched {
	w := &watched{source: source}
	for range columns {
		w.rows = append(w.rows, cli.NewHistory(kept))
	}
	w.last, w.failed = source.Read()
	return w
}

// current are those under watch without namespaces that are gone, and with those that are new.
func (w *Watched) current() (all []*watched) {
	for _, source := range w.set.Sources() {
		at := slices.IndexFunc(w.all, func(o *watched) bool { return o.source == source })
		if at >= 0 {
			all = append(all, w.all[at])
		} else {
			all = append(all, newWatched(source))
		}
	}
	return all
}

// step reads, and says what happened since the step before. After an error the next step spans both.
func (w *watched) step() (observe.Figures, error) {
	now, err := w.source.Read()
	if err != nil {
		return observe.Figures{}, err
	}
	f := observe.Between(w.last, now)
	w.last = now
	return f, nil
}

// Lines prints one for each namespace and interval until ctx is done, as JSON or with columns as wide as their heads. A
// namespace that cannot be read is a remark, said once.
func Lines(ctx context.Context, all *Watched, every time.Duration, asJSON bool, results, remarks io.Writer) error {
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
		all.all = all.current()
		for _, v := range all.all {
			before := v.failed
			f, err := v.step()
			v.failed = err
			switch {
			case err != nil && before != nil && err.Error() == before.Error():
				continue
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
