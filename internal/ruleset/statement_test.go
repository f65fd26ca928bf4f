package ruleset

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

var ranges = []struct {
	queueRange
	native expr.Queue
	xt     [3]uint16 // queuenum, queues_total, flags
	text   string
}{
	{queueRange{first: 7, total: 1}, expr.Queue{Num: 7, Total: 1}, [3]uint16{7, 1, 0}, "queue to 7"},
	{queueRange{first: 0, total: 4, bypass: true}, expr.Queue{Total: 4, Flag: 1}, [3]uint16{0, 4, 1}, "queue flags bypass to 0-3"},
	{queueRange{first: 1, total: 2, cpu: true}, expr.Queue{Num: 1, Total: 2, Flag: 2}, [3]uint16{1, 2, 2}, "queue flags fanout to 1-2"},
	{queueRange{first: 65000, total: 536, bypass: true, cpu: true}, expr.Queue{Num: 65000, Total: 536, Flag: 3}, [3]uint16{65000, 536, 3}, "queue flags bypass,fanout to 65000-65535"},
}

func TestQueueStatement(t *testing.T) {
	for _, test := range ranges {
		t.Run(test.text, func(t *testing.T) {
			if diff := cmp.Diff(&test.native, queueStatement(KindNative, test.queueRange)); diff != "" {
				t.Errorf("native (-want +got):\n%s", diff)
			}
			var info xt.Unknown
			for _, field := range test.xt {
				info = binary.NativeEndian.AppendUint16(info, field)
			}
			info = append(info, 0, 0) // XT_ALIGN
			want := &expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}
			if diff := cmp.Diff(want, queueStatement(KindXT, test.queueRange)); diff != "" {
				t.Errorf("xt (-want +got):\n%s", diff)
			}
			if got := test.String(); got != test.text {
				t.Errorf("text %q", got)
			}
			for _, kind := range []Kind{KindNative, KindXT} {
				gotKind, got, ok := parseQueueStatement(queueStatement(kind, test.queueRange))
				if !ok || gotKind != kind || got != test.queueRange {
					t.Errorf("%s: parsed back as %q, %+v, %v", kind, gotKind, got, ok)
				}
			}
		})
	}
}

// What is not our statement is not taken for it, however malformed.
func TestParseQueueStatementRejects(t *testing.T) {
	short := xt.Unknown{0, 0, 0, 0}
	whole := make(xt.Unknown, targetSize)
	for _, e := range []expr.Any{
		&expr.Counter{},
		&expr.Target{Name: targetName, Rev: targetRevision, Info: &short},
		&expr.Target{Name: targetName, Rev: targetRevision - 1, Info: &whole},
		&expr.Target{Name: "MARK", Rev: targetRevision, Info: &whole},
		&expr.Target{Name: targetName, Rev: targetRevision},
	} {
		t.Run(fmt.Sprintf("%+v", e), func(t *testing.T) {
			if kind, q, ok := parseQueueStatement(e); ok {
				t.Errorf("taken for %s %v", kind, q)
			}
		})
	}
}
