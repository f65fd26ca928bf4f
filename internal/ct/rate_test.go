package ct

import (
	"encoding/json"
	"testing"
	"time"
)

func TestPerSecond(t *testing.T) {
	risen := Counters{ClashResolve: {N: 7, Sent: true}, Found: {Sent: true}}
	rates := risen.PerSecond(2 * time.Second)
	b, err := json.Marshal(rates)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]*float64
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	if len(got) != len(AllCounters()) || *got["clash_resolve"] != 3.5 || *got["found"] != 0 || got["drop"] != nil {
		t.Errorf("%s: want 3.5 clashes and 0 found a second, and null for what was not sent", b)
	}
	if _, ok := risen.PerSecond(0).Of(ClashResolve); ok {
		t.Error("a rate over no time")
	}
}
