package statistics

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// full is a document in which every counter of a kind has the same number.
func full(n uint64) *Document {
	d := &Document{Schema: Schema, Queues: []QueueVerdicts{{}}, Total: &Totals{}, Gate: &Gate{Queues: []GateThread{{}}}}
	for _, v := range []any{&d.Queues[0], d.Total, &d.Gate.Queues[0], &d.Gate.Total} {
		fill(reflect.ValueOf(v).Elem(), n)
	}
	return d
}

func fill(v reflect.Value, n uint64) {
	for _, f := range v.Fields() {
		switch f.Kind() {
		case reflect.Struct:
			fill(f, n)
		case reflect.Uint64:
			f.SetUint(n)
		}
	}
}

// TestAdd: no counter is left out of a sum, whichever is added to the types.
func TestAdd(t *testing.T) {
	three, five, eight := full(3), full(5), full(8)
	Add(three.Total, five.Total)
	Add(&three.Gate.Total, &five.Gate.Total)
	if !reflect.DeepEqual(three.Total, eight.Total) || !reflect.DeepEqual(three.Gate.Total, eight.Gate.Total) {
		t.Errorf("sums are %+v and %+v", three.Total, three.Gate.Total)
	}
}

func TestRead(t *testing.T) {
	text, err := json.Marshal(full(7))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(text)
	if err != nil || !reflect.DeepEqual(got, full(7)) {
		t.Fatalf("read as %+v, %v", got, err)
	}
	for name, change := range map[string]struct{ old, with, want string }{
		"no JSON":                {`{`, ``, "read the statistics"},
		"another schema":         {`"schema":2`, `"schema":1`, `schema "1"`},
		"no schema":              {`"schema":2,`, ``, `schema ""`},
		"a counter of the queue": {`"undecodable":7,`, ``, `"queues.0.undecodable"`},
		"a counter of the gate":  {`"unguarded":7,`, ``, `"gate.queues.0.unguarded"`},
		"no memory":              {`,"rss_kib":{"start":0,"end":0,"max":0}`, ``, `"rss_kib"`},
		"an unknown key":         {`"schema":2`, `"schema":2,"guarded":1`, "guarded"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := strings.Replace(string(text), change.old, change.with, 1)
			if broken == string(text) {
				t.Fatal("nothing was changed")
			}
			if _, err := Read([]byte(broken)); err == nil || !strings.Contains(err.Error(), change.want) {
				t.Errorf("%v; want %s", err, change.want)
			}
		})
	}
}

func TestHistogram(t *testing.T) {
	h, other := NewHistogram(time.Minute), NewHistogram(time.Minute)
	h.Record(int64(time.Microsecond), 98)
	h.Record(-1, 1)
	other.Record(int64(time.Hour), 1)
	h.Swap()
	other.Swap()
	s, of := h.Spread(), other.Spread()
	Add(&s, &of)
	if s.P50 < 0.9 || s.P99 > 1.1 || s.Max < 59e6 || s.Max > 61e6 {
		t.Errorf("%+v", s)
	}
	if n, sum := s.Times.Count(); n != 100 || sum != 98*time.Microsecond+time.Minute {
		t.Errorf("%d times, %v in all", n, sum)
	}
	if n := s.Times.Below([]time.Duration{0, 10 * time.Microsecond, time.Second, 2 * time.Minute}); !slices.Equal(n, []uint64{1, 99, 99, 100}) {
		t.Errorf("below bounds: %v", n)
	}
	if counts, zero := s.Times.Exponential(8); zero != 1 || len(counts) != 2 {
		t.Errorf("exponential %v, zero %d", counts, zero)
	}
	h.Record(1000, 1)
	h.Swap()
	if n, _ := h.Spread().Times.Count(); n != 100 {
		t.Errorf("%d times of one thread, want those before and one", n)
	}
}

// TestFieldsExplainThemselves: each has a name of its own and a sentence for operators.
func TestFieldsExplainThemselves(t *testing.T) {
	for _, list := range [][]Field{Fields[QueueVerdicts](), Fields[GateTotals](), Fields[Rule]()} {
		seen := map[string]bool{}
		for _, f := range list {
			if f.Name == "" || seen[f.Name] || !strings.HasSuffix(f.Help, ".") {
				t.Errorf("field %q: %q is no sentence, or the name is not its own", f.Name, f.Help)
			}
			seen[f.Name] = true
		}
	}
	v := QueueVerdicts{}
	v.Dropped, v.OldestSeconds = 7, 0.5
	got := map[string]float64{}
	for _, f := range Fields[QueueVerdicts]() {
		if f.Kind != Distribution {
			got[f.Name] = f.Value(reflect.ValueOf(v))
		}
	}
	if got["dropped"] != 7 || got["oldest_packet_seconds"] != 0.5 || got["accepted"] != 0 {
		t.Errorf("read %v", got)
	}
}
