package ct

import (
	"encoding/json"
	"testing"
)

func TestCounterNamesAreUnique(t *testing.T) {
	all := AllCounters()
	if got, want := len(all), int(ChainTooLong); got != want {
		t.Errorf("%d counters, want %d: one for each attribute", got, want)
	}
	seen := make(map[string]Counter)
	for _, c := range all {
		name := c.String()
		if other, ok := seen[name]; ok || name == "" {
			t.Errorf("counters %d and %d are both called %q", other, c, name)
		}
		seen[name] = c
	}
	if got, want := Counter(200).String(), "counter 200"; got != want {
		t.Errorf("an unknown counter is called %q, want %q", got, want)
	}
}

// The numbers are those of linux/netfilter/nfnetlink_conntrack.h.
func TestCounterNumbers(t *testing.T) {
	for c, want := range map[Counter]uint8{Found: 2, DeleteList: 7, Insert: 8, SearchRestart: 13, ClashResolve: 14, ChainTooLong: 15} {
		if uint8(c) != want {
			t.Errorf("%v is attribute %d, want %d", c, uint8(c), want)
		}
	}
}

func TestValue(t *testing.T) {
	for _, tc := range []struct {
		value      Value
		text, json string
	}{
		{Value{}, "-", "null"},
		{Value{Sent: true}, "0", "0"},
		{Value{N: 1 << 40, Sent: true}, "1099511627776", "1099511627776"},
	} {
		if got := tc.value.String(); got != tc.text {
			t.Errorf("%+v in text: %q, want %q", tc.value, got, tc.text)
		}
		b, err := json.Marshal(tc.value)
		if err != nil || string(b) != tc.json {
			t.Errorf("%+v in JSON: %s, %v; want %s", tc.value, b, err, tc.json)
		}
	}
}

func TestCountersJSON(t *testing.T) {
	cpu := CPU{CPU: 3, Counters: Counters{
		ClashResolve: {N: 7, Sent: true},
		Drop:         {Sent: true},
	}}
	b, err := json.Marshal(cpu)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]*uint64
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	if len(got) != len(AllCounters())+1 {
		t.Errorf("%d keys in %s, want one for each counter and the CPU", len(got), b)
	}
	for key, want := range map[string]uint64{"cpu": 3, "clash_resolve": 7, "drop": 0} {
		if v := got[key]; v == nil || *v != want {
			t.Errorf("%s is %v in %s, want %d", key, v, b, want)
		}
	}
	if v, ok := got["chain_toolong"]; !ok || v != nil {
		t.Errorf("chain_toolong was not sent, but is not null in %s", b)
	}
}

func snapshot(cpus ...CPU) Snapshot { return Snapshot{CPUs: cpus} }

func cpu(number int, found, clash uint64) CPU {
	return CPU{CPU: number, Counters: Counters{Found: {N: found, Sent: true}, ClashResolve: {N: clash, Sent: true}}}
}

func TestSince(t *testing.T) {
	before := snapshot(cpu(0, 5, 1<<32-3), cpu(2, 9, 9))
	after := snapshot(cpu(0, 8, 4), cpu(1, 6, 2), cpu(2, 9, 9))
	delta := after.Since(before)

	want := snapshot(cpu(0, 3, 7), cpu(1, 6, 2), cpu(2, 0, 0)) // CPU 0 wrapped, CPU 1 is new
	for i, c := range delta.CPUs {
		if c != want.CPUs[i] {
			t.Errorf("delta %+v, want %+v", c, want.CPUs[i])
		}
	}
	if total := delta.Total(); total[Found].N != 9 || total[ClashResolve].N != 9 || !total[ClashResolve].Sent || total[Drop].Sent {
		t.Errorf("total %+v, want 9 found, 9 clashes, and drop as not sent", total)
	}
	if !delta.CPUs[2].Zero() || delta.CPUs[1].Zero() {
		t.Error("CPU 2 counted nothing, CPU 1 did; Zero says otherwise")
	}
	if after.CPUs[0] != cpu(0, 8, 4) {
		t.Error("Since changed the snapshot that it was called on")
	}
}

func TestTotalDoesNotWrap(t *testing.T) {
	const most = 1<<32 - 1
	total := snapshot(cpu(0, most, most), cpu(1, most, 1)).Total()
	if got := total[Found].N; got != 2*most {
		t.Errorf("sum %d, want %d", got, uint64(2*most))
	}
}

func TestCountersAreReadBack(t *testing.T) {
	want := Counters{ClashResolve: {N: 7, Sent: true}, Drop: {Sent: true}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Counters
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("%s became %+v, %v", text, got, err)
	}
	if err := json.Unmarshal([]byte(`{"drop":"many"}`), &got); err == nil {
		t.Error("a text passes for a number")
	}
}

func TestValuePointer(t *testing.T) {
	for _, want := range []Value{{}, {Sent: true}, {N: 7, Sent: true}} {
		p := want.Pointer()
		if (p != nil) != want.Sent || ValueOf(p) != want {
			t.Errorf("%+v became %v and %+v", want, p, ValueOf(p))
		}
	}
}

func TestClashesByEra(t *testing.T) {
	v := func(n uint64) Value { return Value{N: n, Sent: true} }
	for name, tt := range map[string]struct {
		counted Counters
		want    Value
	}{
		"5.15 and later": {Counters{ClashResolve: v(7), InsertFailed: v(5), ChainTooLong: v(2)}, v(10)},
		"5.10":           {Counters{ClashResolve: v(7), InsertFailed: v(5)}, v(12)},
		"4.7":            {Counters{InsertFailed: v(5)}, v(5)},
		"torn reading":   {Counters{ClashResolve: v(3), InsertFailed: v(1), ChainTooLong: v(2)}, v(3)},
		"neither sent":   {Counters{Drop: v(9)}, Value{}},
	} {
		if got := tt.counted.Clashes(); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}
