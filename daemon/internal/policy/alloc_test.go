//go:build !race

package policy

import (
	"testing"
)

// The race detector's own allocations would be counted.
func TestDecideDoesNotAllocate(t *testing.T) {
	check := func(name string, p *Policy, inputs []*Input) {
		t.Helper()
		d, v := p.NewDecider(), Verdict{}
		if n := testing.AllocsPerRun(20, func() {
			for _, in := range inputs {
				in.Now++
				in.Unix += 59
				d.Decide(in, &v)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	check("a gateway", compiled(t, 0, gateway(1000)...), []*Input{inputOf(t, "192.0.2.1", "198.51.100.2", 53), inputOf(t, "2001:db8::1", "2001:db8::2", 53)})
	check("sets", compiled(t, 0, millions(t, 1000)...), []*Input{inputOf(t, "10.192.0.2", "10.51.100.2", 53)})
	for seed := range uint64(30) {
		w := newWorld(t, seed)
		p, err := Compile(*w.config(100), nil)
		if err != nil {
			t.Fatal(err)
		}
		p.SetDevices(w.ref.devices)
		var inputs []*Input
		for range 20 {
			inputs = append(inputs, w.input())
		}
		check("random rules", p, inputs)
	}
}
