package ruleset

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"verdictd/internal/vocabulary"
)

// A kernel has one kind of queue statement or the other. The tables for both
// have to be the same but for that statement, so that what is tested with one
// kind holds for the other.
func TestKindsDifferInTheStatementOnly(t *testing.T) {
	for _, placement := range vocabulary.Placements()[1:] {
		for _, fanout := range vocabulary.Fanouts() {
			t.Run(fmt.Sprintf("%s/%s", placement, fanout), func(t *testing.T) {
				c := udpRules(placement, fanout, 3)
				c.SourcePorts, c.DestinationPorts = []uint16{53}, []uint16{53}
				g := testGate()
				g.Zones, g.ExemptPorts = []uint16{5}, []uint16{443}
				c.Gate = &g
				c.Verdicts = &Verdicts{Mark: packetMarks, ConnMark: flowMarks, Generation: 1}
				native, xt := newTable(c, KindNative, allParts), newTable(c, KindXT, allParts)

				// Replace the statements by what they say.
				neutral := func(table *table, want Kind) (statements int) {
					for i := range table.chains {
						for _, r := range table.chains[i].rules {
							for j, e := range r.expressions {
								if kind, q, ok := parseQueueStatement(e); ok {
									if kind != want {
										t.Errorf("%s statement in the table for %s", kind, want)
									}
									r.expressions[j] = queueStatement(KindNative, q)
									statements++
								}
							}
						}
					}
					return statements
				}
				if n, m := neutral(native, KindNative), neutral(xt, KindXT); n == 0 || n != m {
					t.Errorf("%d native and %d xt statements", n, m)
				}
				options := cmp.AllowUnexported(table{}, set{}, listing{}, chain{}, rule{}, hook{}, nftables.SetDatatype{})
				same := cmp.Comparer(func(a, b *ipFamily) bool { return a == b })
				if diff := cmp.Diff(native, xt, options, same); diff != "" {
					t.Errorf("the tables differ (-native +xt):\n%s", diff)
				}
			})
		}
	}
}

// allParts is a kernel that can do all that a gate needs.
var allParts = gateParts{settled: true, zones: true}

// The native statement of each fan-out.
func TestNativeStatements(t *testing.T) {
	for _, test := range []struct {
		fanout vocabulary.Fanout
		want   []expr.Queue
	}{
		{vocabulary.FanoutBalance, []expr.Queue{{Num: 10, Total: 2, Flag: expr.QueueFlagBypass}}},
		{vocabulary.FanoutCPU, []expr.Queue{{Num: 10, Total: 2, Flag: expr.QueueFlagBypass | expr.QueueFlagFanout}}},
		{vocabulary.FanoutNumgen, []expr.Queue{
			{Num: 10, Total: 1, Flag: expr.QueueFlagBypass},
			{Num: 11, Total: 1, Flag: expr.QueueFlagBypass},
		}},
		{vocabulary.FanoutPorts, []expr.Queue{
			{Num: 10, Total: 2, Flag: expr.QueueFlagBypass}, // without ports
			{Num: 10, Total: 1, Flag: expr.QueueFlagBypass},
			{Num: 11, Total: 1, Flag: expr.QueueFlagBypass},
		}},
	} {
		t.Run(string(test.fanout), func(t *testing.T) {
			c := udpRules(vocabulary.PlacementOutput, test.fanout, 2)
			c.Bypass = true
			var got []expr.Queue
			for _, chain := range newTable(c, KindNative, allParts).chains {
				for _, r := range chain.rules {
					for _, e := range r.expressions {
						if q, ok := e.(*expr.Queue); ok {
							got = append(got, *q)
						}
					}
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("statements (-want +got):\n%s", diff)
			}
		})
	}
}
