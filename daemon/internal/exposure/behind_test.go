package exposure

import (
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

func TestRounds(t *testing.T) {
	dns, tcp := packets(both, udp(), ports(53, 53)), packets(both, []liverules.Protocol{unix.IPPROTO_TCP})
	tests := []struct {
		name    string
		changes []change
		bound   []uint16
		want    int
	}{
		{"none", nil, nil, 0},
		{"one", []change{rule(vocabulary.HookOutput, 0, dns)}, []uint16{0}, 1},
		{"two hooks", []change{rule(vocabulary.HookOutput, 0, dns), queue(3), rule(vocabulary.HookPostrouting, 0, dns), queue(3)}, []uint16{3}, 2},
		{"two queues of one chain", []change{rule(vocabulary.HookOutput, 0, dns), rule(vocabulary.HookOutput, 0, packets(both, udp()))}, []uint16{0, 1}, 2},
		{"two tables at one place", []change{rule(vocabulary.HookOutput, 0, dns), rule(vocabulary.HookOutput, 0, dns), queue(0), table("two")}, []uint16{0}, 2},
		{"other ports", []change{rule(vocabulary.HookOutput, 0, dns), rule(vocabulary.HookOutput, 0, packets(both, udp(), ports(9, 9)))}, nil, 1},
		{"other ports, translated", []change{rewrite("dnat", packets(both, nil)), rule(vocabulary.HookOutput, 0, dns),
			rule(vocabulary.HookOutput, 0, packets(both, udp(), ports(9, 9)))}, nil, 2},
		{"another protocol", []change{rule(vocabulary.HookOutput, 0, dns), rule(vocabulary.HookOutput, 0, tcp)}, nil, 1},
		{"all but another protocol", []change{rule(vocabulary.HookOutput, 0, dns), rule(vocabulary.HookOutput, 0, liverules.Selection{Families: both, Except: udp()})}, nil, 1},
		{"another family", []change{rule(vocabulary.HookOutput, 0, packets(four, udp())), rule(vocabulary.HookOutput, 0, packets(six, udp()))}, nil, 1},
		{"everything", []change{rule(vocabulary.HookOutput, 0, packets(both, nil)), rule(vocabulary.HookPostrouting, 0, dns), rule(vocabulary.HookPostrouting, 0, tcp)}, nil, 3},
		{"one rule twice", []change{rule(vocabulary.HookOutput, 0, dns), rule(vocabulary.HookOutput, 0, dns), queue(0)}, nil, 1},
		{"before the gate", []change{rule(vocabulary.HookOutput, 0, dns), rule(vocabulary.HookOutput, -300, dns)}, []uint16{0, 1}, 1},
		{"the gate's", []change{rule(vocabulary.HookOutput, 0, dns), rule(vocabulary.HookOutput, -199, dns), gateRule("gate-queue")}, nil, 1},
		{"one that no rule names", []change{rule(vocabulary.HookOutput, 0, dns)}, []uint16{0, 9}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var bound []nfq.KernelQueue
			for _, n := range test.bound {
				bound = append(bound, nfq.KernelQueue{Queue: n})
			}
			if got := Rounds(made(test.changes...), bound); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}

// TestApart: to which queues no packet comes that has passed the gate.
func TestApart(t *testing.T) {
	dns, tcp := packets(both, udp(), ports(53, 53)), packets(both, []liverules.Protocol{unix.IPPROTO_TCP})
	p := Make(made(
		rule(vocabulary.HookOutput, 0, dns), queue(1),
		rule(vocabulary.HookOutput, 0, tcp), queue(2),
		rule(vocabulary.HookOutput, -300, dns), queue(3),
		rule(vocabulary.HookOutput, -199, dns), gateRule("gate-queue"), queue(4),
		rule(vocabulary.HookOutput, 0, tcp), queue(5), rule(vocabulary.HookForward, 0, dns), queue(5),
		rule(vocabulary.HookOutput, 0, tcp), queue(6),
	), Options{HandsOn: []uint16{6}})
	for n, want := range map[uint16]bool{1: false, 2: true, 3: true, 4: true, 5: false, 6: false, 7: false} {
		if p.Apart[n] != want {
			t.Errorf("queue %d apart %v, want %v", n, p.Apart[n], want)
		}
	}
}
