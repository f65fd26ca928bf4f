package ruleset

import (
	"fmt"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// setMark has the flow's sender mark its packets (SO_MARK).
func (f *flow) setMark(mark uint32) {
	f.t.Helper()
	raw, err := f.client.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
				f.t.Error(err)
			}
		})
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// otherRules puts rules of another program into a hook.
func otherRules(t *testing.T, table string, hook *nftables.ChainHook, priority nftables.ChainPriority, rules ...[]expr.Any) {
	t.Helper()
	conn := &nftables.Conn{}
	parent := conn.AddTable(&nftables.Table{Family: family, Name: table})
	chain := conn.AddChain(&nftables.Chain{Table: parent, Name: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: &priority})
	for _, r := range rules {
		conn.AddRule(&nftables.Rule{Table: parent, Chain: chain, Exprs: r})
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// What others do with whole marks, as wg-quick, mwan3, and iptables' CONNMARK without masks.
var (
	restoreMark = []expr.Any{&expr.Ct{Key: expr.CtKeyMARK, Register: register}, &expr.Meta{Key: expr.MetaKeyMARK, Register: register, SourceRegister: true}}
	saveMark    = []expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: register}, &expr.Ct{Key: expr.CtKeyMARK, Register: register, SourceRegister: true}}
)

func markTo(mark uint32) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: register, Data: binaryutil.NativeEndian.PutUint32(mark)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register, SourceRegister: true},
	}
}

// No mark with which a packet comes is a verdict, whoever has set it: the sender, or rules
// of others at any place before the queue, at the very same priority too.
func TestForgedMarks(t *testing.T) {
	forged := []uint32{packetMarks.Value(vocabulary.MarkAccept, 0), packetMarks.Repeated(), uint32(packetMarks)}
	for generation := uint16(1); generation < 4; generation++ {
		forged = append(forged, packetMarks.Value(vocabulary.MarkAccept, generation))
	}
	const more = 0xab00ab00 // bits of others, which stay
	sender := func(_ *testing.T, f *flow, mark uint32) { f.setMark(mark) }
	rule := func(priority nftables.ChainPriority) func(*testing.T, *flow, uint32) {
		return func(t *testing.T, _ *flow, mark uint32) {
			otherRules(t, fmt.Sprintf("other-%x", mark), nftables.ChainHookOutput, priority, markTo(mark))
		}
	}
	for name, forge := range map[string]func(*testing.T, *flow, uint32){
		"sender": sender, "raw": rule(raw), "before": rule(mangle - 1), "same": rule(mangle),
	} {
		t.Run(name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			if name == "same" { // one that was there before, which comes behind
				otherRules(t, "before", nftables.ChainHookOutput, mangle, markTo(forged[0]))
			}
			j := judged(t, flowRules(vocabulary.PlacementOutput))
			j.set(vocabulary.MarkDrop, false)
			_, _, loopback := ends(false)
			f := open(t, ns, ns, at(loopback))
			for i, mark := range forged {
				forge(t, f, mark|more)
				f.send(1)
				j.await(t, i+1)
				j.expect(t, fmt.Sprintf("mark %#x", mark|more), more)
			}
			if f.receive(hardly) {
				t.Error("delivered, though every packet was to be dropped")
			}
		})
	}
}

// Behind the queue nobody sees the marks, and other bits are as they were.
func TestMarksAreTakenOff(t *testing.T) {
	ns := testkit.Namespace(t)
	j := judged(t, flowRules(vocabulary.PlacementOutput))
	behind := udpRules(vocabulary.PlacementPostrouting, vocabulary.FanoutBalance, 1)
	behind.Table, behind.FirstQueue = "behind", 50
	seen := judged(t, behind)
	_, _, loopback := ends(false)
	f := open(t, ns, ns, at(loopback))
	const mark = 0x12000034
	f.setMark(mark)
	for _, is := range []judgement{{vocabulary.MarkAccept, false}, {vocabulary.MarkAccept, true}, {vocabulary.MarkAccept, true}} {
		j.set(is.verdict, is.flow)
		f.deliver()
		seen.expect(t, "behind the queue", mark)
	}
	j.expect(t, "in the queue", mark, mark)
}

// A packet that is repeated comes to the queue once more, and its mark tells it.
func TestRepeated(t *testing.T) {
	ns := testkit.Namespace(t)
	j := judged(t, flowRules(vocabulary.PlacementOutput))
	_, _, loopback := ends(false)
	f := open(t, ns, ns, at(loopback))
	j.repeat(1)
	f.deliver()
	j.expect(t, "repeated once", 0, 1|packetMarks.Repeated())
}

// repeat has packets repeated with bits in their marks, which they have when they come
// again, and then accepted.
func (j *judge) repeat(bits uint32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.replace = func(p *nfq.Packet, r *nfq.Reply) {
		r.SetMark = true
		if p.Mark&uint32(packetMarks) == packetMarks.Repeated() {
			r.Verdict, r.Mark = nfq.Accept, packetMarks.Set(p.Mark, 0)
			return
		}
		r.Verdict, r.Mark = nfq.Repeat, packetMarks.Set(p.Mark|bits, packetMarks.Repeated())
	}
}

// Rules of others that save and restore whole marks may have a flow judged again, and never
// let one pass that is not to.
func TestWholeConnmarks(t *testing.T) {
	for _, verdict := range []vocabulary.MarkVerdict{vocabulary.MarkAccept, vocabulary.MarkDrop} {
		ns := testkit.Namespace(t)
		otherRules(t, "early", nftables.ChainHookOutput, mangle, restoreMark)
		j := judged(t, flowRules(vocabulary.PlacementOutput))
		otherRules(t, "late", nftables.ChainHookOutput, mangle, restoreMark)
		otherRules(t, "save", nftables.ChainHookPostrouting, mangle, saveMark)
		_, _, loopback := ends(false)
		f := open(t, ns, ns, at(loopback))
		f.deliver()
		j.take()
		j.set(verdict, true)
		f.setMark(packetMarks.Value(vocabulary.MarkAccept, j.rules.Generation()))
		for range 20 {
			f.send(1)
			if delivered := verdict == vocabulary.MarkAccept; delivered && !f.receive(surely) {
				t.Fatal("a packet was lost")
			}
		}
		if verdict == vocabulary.MarkDrop && f.receive(hardly) {
			t.Error("a packet of a dropped flow was delivered")
		}
		for _, mark := range j.take() {
			if mark&uint32(packetMarks) != 0 {
				t.Errorf("came with mark %#x", mark)
			}
		}
	}
}
