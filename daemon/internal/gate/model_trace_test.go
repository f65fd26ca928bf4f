package gate

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// TestModelTrace tells what happens to one flow in one run of the model, as a
// failure names them: MODEL='own queue' SEED=123 FLOW=4 go test -v -run ModelTrace.
// Without FLOW it looks for the first seed from there on that fails.
func TestModelTrace(t *testing.T) {
	name, seed := os.Getenv("MODEL"), os.Getenv("SEED")
	if name == "" {
		t.Skip("MODEL names no variant")
	}
	o, ok := variants()[name]
	if !ok {
		o, ok = broken()[name]
	}
	n, err := strconv.ParseUint(seed, 10, 64)
	if err != nil || !ok {
		t.Fatalf("MODEL=%q SEED=%q: %v", name, seed, err)
	}
	o.seed = n
	if flow, err := strconv.Atoi(os.Getenv("FLOW")); err == nil {
		o.trace = func(of int, what string) {
			if of == flow || of < 0 {
				fmt.Println(what)
			}
		}
		m := newModel(o)
		m.run(modelSteps)
		fmt.Println(m.faults)
		return
	}
	for ; ; o.seed++ {
		m := newModel(o)
		if m.run(modelSteps); len(m.faults) > 0 {
			t.Logf("seed %d: %v", o.seed, m.faults)
			return
		}
	}
}

// note traces what happens to a flow; below 0: to all.
func (m *model) note(flow int, format string, v ...any) {
	if m.opt.trace != nil {
		m.opt.trace(flow, fmt.Sprintf("%.6f ", float64(m.now)/1e9)+fmt.Sprintf(format, v...))
	}
}

func (p *mPacket) String() string {
	if p.reply {
		return fmt.Sprintf("reply %d of sender %d", p.number, p.sender)
	}
	return fmt.Sprintf("packet %d of sender %d", p.number, p.sender)
}
