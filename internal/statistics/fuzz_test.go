package statistics

import (
	"encoding/json"
	"reflect"
	"testing"
)

// FuzzRead reads arbitrary bytes as a document: what is read can be written and read again.
func FuzzRead(f *testing.F) {
	for _, n := range []uint64{0, 7, 1 << 63} {
		text, err := json.Marshal(full(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"schema":2,"queues":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Read(text)
		if err != nil {
			return
		}
		written, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Read(written)
		if err != nil || !reflect.DeepEqual(again, d) {
			t.Errorf("%v: %+v, and again %+v", err, d, again)
		}
	})
}
