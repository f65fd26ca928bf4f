package gate

import (
	"strings"
	"testing"
	"time"
)

// broken are guards that are wrong in one point each.
func broken() map[string]modelOptions {
	return map[string]modelOptions{
		"releases two packets when one was gone":     {queues: queues(ownDrops), rules: true, two: true},
		"takes empty queues for gone":                {queues: queues(ownQueue), rules: true, emptyIsGone: true},
		"no barrier":                                 {queues: queues(sequence), noBarrier: true},
		"no barrier, nothing but rules":              {queues: queues(sequence, sequence), rules: true, noBarrier: true},
		"does not wait for its own verdicts":         {queues: queues(ownQueue), noSections: true},
		"takes its own verdict for the confirm":      {queues: queues(ownQueue, sequence), believes: true},
		"takes any drop for the first packet's":      {queues: queues(ownDrops), anyDrop: true, hold: 2 * time.Millisecond},
		"each direction is a flow":                   {queues: queues(ownQueue), directional: true},
		"forgets a held packet":                      {queues: queues(ownQueue), forgets: true},
		"packets list themselves":                    {queues: queues(ownQueue), list: true, listsItself: true},
		"what is listed and unknown is not told":     {queues: queues(ownQueue), list: true, forget: true, stale: true},
		"packets expire while the judge stands":      {queues: queues(standing), hold: 150 * time.Millisecond, patient: true, impatient: true},
		"packets expire in a backlog":                {queues: queues(ownSlow), flows: 30, hold: 150 * time.Millisecond, patient: true, impatient: true},
		"knows nothing of before it began":           {queues: queues(ownDrops), dark: true, bright: true},
		"lists what is on its way":                   {queues: queues(foreign), list: true, hasty: true},
		"takes what went with a device for judged":   {queues: queues(inSlow), flows: 30, devices: true, still: true},
		"one round for queues in a row":              {queues: queues(sequence, ownQueue, sequence), rounds: 1},
		"one round for two hooks":                    {queues: queues(sequence), twice: true, rounds: 1},
		"takes threads for one that judges in order": {queues: queues(foreign), allInOrder: true},
		"takes the time of a stop for a wait":        {queues: queues(ownSlow), flows: 30, stops: true, patient: true, restless: true},
		"takes what is lost for judged":              {queues: queues(fullRoom, ownQueue), lossless: true},
	}
}

// TestModelCatchesBrokenGuards shows that the model would see a guard that is
// wrong.
func TestModelCatchesBrokenGuards(t *testing.T) {
	for name, o := range broken() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range 800 {
				o := o
				o.seed = uint64(i)
				m := newModel(o)
				m.run(modelSteps)
				if len(m.faults) > 0 {
					fault := m.faults[0][strings.Index(m.faults[0], ": ")+2:]
					t.Logf("seed %d: %s", i, fault)
					return
				}
			}
			t.Errorf("not seen in 800 runs of %d steps", modelSteps)
		})
	}
}
