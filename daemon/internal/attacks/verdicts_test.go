package attacks

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// Verdicts besides accept and drop: packets that come to a queue once more, or to one that their rule does not name.
// Of a packet that is still on its way nothing may be taken for gone, however it goes on.

// slowJudge is how long a program keeps each packet: while it judges others, it is known of those before an epoch's end
// that they were judged, and where they have gone is not.
const slowJudge = 200 * time.Millisecond

// flowsThrough sends new flows through what was set up, of which nothing is dropped.
func (r *run) flowsThrough(h hosts) outcome {
	r.Helper()
	in := listen(r, h.Receiver, h.target(port))
	burst{to: h.target(port), flows: 100, packets: 4, pause: time.Millisecond}.send(r, h.Sender)
	o := r.endBefore(in, 400)
	if d := o.longest(); d > stuck {
		r.Errorf("a packet was on its way for %v", d)
	}
	return o
}

// TestHandedOn: a program hands packets on to the queue of another one, as Suricata does in its mode route.
func TestHandedOn(t *testing.T) {
	const next = foreignQueue + 1
	for name, rule := range map[string]string{
		"no rule names it":        "",
		"named at another hook":   fmt.Sprintf("-t mangle -A POSTROUTING -p udp --dport %d -m mark --mark 99 -j NFQUEUE --queue-num %d", port, next),
		"named in the same chain": fmt.Sprintf("-t mangle -A OUTPUT -p udp -m mark --mark 99 -j NFQUEUE --queue-num %d", next),
	} {
		t.Run(name, func(t *testing.T) {
			sideBySide(t, scenario{
				guard: patient, arrive: 400, clashes: 150, confirmed: true,
				play: func(r *run) outcome {
					h := oneHost(r, "ipv4")
					queueTo(r, h.Queue, "OUTPUT", foreignQueue)
					iptables(r, h.Queue, rule)
					startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, foreignVerdicts: foreignVerdicts{HandOn: next}})
					startForeign(r, h.Queue, foreignConfig{Queue: next, Delay: slowJudge})
					r.before(h.Queue, fmt.Sprintf("%d-%d", foreignQueue, next))
					return r.flowsThrough(h)
				},
			})
		})
	}
}

// TestRepeated: packets go through their chain once more, as Suricata has them do in its mode repeat: to the rules
// behind the one that queued them, or to that one again.
func TestRepeated(t *testing.T) {
	const next = foreignQueue + 1
	unmarked := func(bit, queue int) string {
		return fmt.Sprintf("-t mangle -A OUTPUT -p udp --dport %d -m mark ! --mark %#x/%#x -j NFQUEUE --queue-num %d\n", port, bit, bit, queue)
	}
	again := func(queue int, mark uint32) foreignConfig {
		return foreignConfig{Queue: uint16(queue), Delay: slowJudge, foreignVerdicts: foreignVerdicts{Repeat: 1, Mark: mark}}
	}
	for _, test := range []struct {
		name, rules string
		programs    []foreignConfig
	}{
		{"past the rule", unmarked(1, foreignQueue), []foreignConfig{again(foreignQueue, 1)}},
		{"to another program", unmarked(1, foreignQueue) + unmarked(16, next), []foreignConfig{again(foreignQueue, 1), again(next, 16)}},
		{"to the same rule", fmt.Sprintf("-t mangle -A OUTPUT -p udp --dport %d -j NFQUEUE --queue-num %d", port, foreignQueue),
			[]foreignConfig{again(foreignQueue, 1)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			sideBySide(t, scenario{
				guard: patient, arrive: 400, clashes: 150, confirmed: true,
				play: func(r *run) outcome {
					h := oneHost(r, "ipv4")
					iptables(r, h.Queue, test.rules)
					for _, p := range test.programs {
						startForeign(r, h.Queue, p)
					}
					r.before(h.Queue, fmt.Sprintf("%d-%d", foreignQueue, next))
					return r.flowsThrough(h)
				},
			})
		})
	}
}

// TestBatchesAndReplacements: one verdict for many packets, and packets that come back with another content.
func TestBatchesAndReplacements(t *testing.T) {
	for name, verdicts := range map[string]foreignVerdicts{"batch": {Batch: 20}, "replace": {Replace: true}} {
		t.Run(name, func(t *testing.T) {
			sideBySide(t, scenario{
				guard: patient, arrive: 400, clashes: 150, confirmed: true,
				play: func(r *run) outcome {
					h := oneHost(r, "ipv4")
					queueTo(r, h.Queue, "OUTPUT", foreignQueue)
					startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Delay: 5 * time.Millisecond, foreignVerdicts: verdicts})
					r.before(h.Queue, fmt.Sprint(foreignQueue))
					return r.flowsThrough(h)
				},
			})
		})
	}
}

// TestProgramOfAContainer: a program has the same process number again when it is started once more, and so its queue
// the same port id. It is another queue all the same.
func TestProgramOfAContainer(t *testing.T) {
	sideBySide(t, scenario{
		guard: patient, arrive: 400, clashes: 150,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			queueTo(r, h.Queue, "OUTPUT", foreignQueue)
			contained := func() *foreign {
				return startForeignAs(r, h.Queue, foreignConfig{Queue: foreignQueue, Delay: slowJudge},
					&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID})
			}
			first := contained()
			r.before(h.Queue, fmt.Sprint(foreignQueue))
			in := listen(r, h.Receiver, h.target(port))
			burst{to: h.target(port), flows: 500, packets: 4}.send(r, h.Sender)
			in.await(2000, time.Second)
			first.Kill()
			contained()
			earlier := flowNumber.Load()
			burst{to: h.target(port), flows: 100, packets: 4, pause: time.Millisecond}.send(r, h.Sender)
			in.await(2400, time.Second)
			o := r.endBefore(in, 2400)
			for len(o.arrivals) > 0 && o.arrivals[0].flow <= earlier {
				o.arrivals = o.arrivals[1:]
			}
			o.arrived -= 2000
			if d := o.longest(); d > stuck {
				r.Errorf("a packet was on its way for %v", d)
			}
			return o
		},
	})
}

// TestOwnPolicy: rules of the daemon's own policy have each packet judged twice, and hand it on to another program,
// whose queue rules name for other packets alone.
func TestOwnPolicy(t *testing.T) {
	for name, rule := range map[string]string{
		"repeat": "action: repeat", "requeue": fmt.Sprintf("action: requeue, queue: %d", foreignQueue),
	} {
		t.Run(name, func(t *testing.T) {
			sideBySide(t, scenario{
				guard: patient, arrive: 400, clashes: 150, confirmed: true,
				play: func(r *run) outcome {
					h := oneHost(r, "ipv4")
					iptables(r, h.Queue, fmt.Sprintf("-t mangle -A OUTPUT -p tcp -j NFQUEUE --queue-num %d", foreignQueue))
					startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Delay: slowJudge})
					r.daemon(h.Queue, `analysis: {distribution: fixed, delay: 1ms, per: packet}
rules: {placement: output, destination_ports: [5300]}
policy: {default: accept, rules: [{name: again, `+rule+`}]}`)
					return r.flowsThrough(h)
				},
			})
		})
	}
}
