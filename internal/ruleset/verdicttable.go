package ruleset

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// Names of what verdicts in marks need.
const (
	unmarkSuffix = "-unmark" // behind the name of the chain that queues
	unmarkChain  = "unmark"
	flowsChain   = "flows"
	judgedChain  = "judged"
	listChain    = "list-dropped"
	actChain     = "act"
	resetsChain  = "resets"

	keptProtocolsSet = "dropped-protocols"
)

func listedChain(f *ipFamily) string { return "listed-" + f.name }

// addVerdictHook completes a base chain, and adds the one right before it. Of chains with
// one priority the kernel calls the one first that was added last (nf_hook_entries_grow,
// since 4.14), and a transaction adds them in the order of their names: nobody is between.
func (t *table) addVerdictHook(c Config, h hook, base *chain) {
	switch {
	case !c.passesResets():
	case c.Placement.Exposed():
		base.add("resets", append(isReset(), verdict(expr.VerdictJump, resetsChain))...)
	default:
		base.add("resets of a reject pass", append(isReset(), &expr.Counter{}, accept())...)
	}
	base.add("select and queue", verdict(expr.VerdictJump, selectChain))
	c.Verdicts.addReject(h, base)
	before := chain{name: base.name + unmarkSuffix, hook: &h}
	before.add("come with a mark", slices.Concat(c.Verdicts.marked(expr.CmpOpNeq, uint32(c.Verdicts.Mark), 0), []expr.Any{verdict(expr.VerdictJump, unmarkChain)})...)
	t.chains = append(t.chains, *base, before)
}

// passesResets tells that rules for rejects let resets pass, which may be the kernel's.
func (c Config) passesResets() bool {
	return len(c.Protocols) == 0 || slices.Contains(c.Protocols, unix.IPPROTO_TCP)
}

// isReset matches resets of TCP.
func isReset() []expr.Any {
	const flags, reset = 13, 4
	return slices.Concat(isProtocol(expr.CmpOpEq, unix.IPPROTO_TCP), []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: flags, Len: 1, DestRegister: register},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 1, Mask: []byte{reset}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: []byte{0}},
	})
}

// marked compares bits of the packet's mark.
func (v *Verdicts) marked(op expr.CmpOp, bits, value uint32) []expr.Any {
	return slices.Concat([]expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: register}}, compareBits(op, bits, value))
}

func compareBits(op expr.CmpOp, bits, value uint32) []expr.Any {
	return []expr.Any{
		replaceBits(bits, 0),
		&expr.Cmp{Op: op, Register: register, Data: binaryutil.NativeEndian.PutUint32(value)},
	}
}

// replaceBits keeps bits of what is loaded, and sets others, which are none of these.
func replaceBits(kept, set uint32) expr.Any {
	return &expr.Bitwise{
		SourceRegister: register, DestRegister: register, Len: 4,
		Mask: binaryutil.NativeEndian.PutUint32(kept), Xor: binaryutil.NativeEndian.PutUint32(set),
	}
}

// setMark writes a value into the packet's mark.
func (v *Verdicts) setMark(value uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register},
		replaceBits(^uint32(v.Mark), value),
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register, SourceRegister: true},
	}
}

func (v *Verdicts) unmark() []expr.Any { return append([]expr.Any{&expr.Counter{}}, v.setMark(0)...) }

// addReject makes the rules for packets that are to be rejected. In POSTROUTING the kernel
// has no reject.
func (v *Verdicts) addReject(h hook, base *chain) {
	add := func(comment string, match []expr.Any, do expr.Any) {
		base.add(comment, slices.Concat(v.marked(expr.CmpOpEq, v.Mark.Verdicts(), v.Mark.Value(vocabulary.MarkReject, 0)), match, []expr.Any{&expr.Counter{}, do})...)
	}
	if h.at == vocabulary.HookPostrouting {
		add("rejected: dropped, as there is no reject here", nil, verdict(expr.VerdictDrop, ""))
		return
	}
	add("rejected: reset", isProtocol(expr.CmpOpEq, unix.IPPROTO_TCP), &expr.Reject{Type: unix.NFT_REJECT_TCP_RST})
	add("rejected: unreachable", nil, rejectUnreachable())
}

func rejectUnreachable() expr.Any {
	return &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}
}

// addVerdicts makes the chains between selection and queue.
//
//	flows          packets of flows that were judged; then to the queue
//	judged         packets that come back: what is for their flow is noted
//	act            what is for the packet is done
//	list-dropped   dropped flows that conntrack does not have
//	listed-ipv4    packets of those
//	resets         those that the kernel sends for a rejected packet pass: they carry its entry as related, as no
//	               other reset does
//
// What asks conntrack is in chains of its own, which stay as leftovers: with the last rule of that kind the kernel
// drops what waits.
func (t *table) addVerdicts(c Config) {
	v := c.Verdicts
	flows, judged, act := chain{name: flowsChain}, chain{name: judgedChain}, chain{name: actChain}
	flows.add("comes back judged", append(v.marked(expr.CmpOpNeq, uint32(v.Mark), 0), verdict(expr.VerdictGoto, judgedChain))...)
	judged.add("repeated: judge it again", append(v.marked(expr.CmpOpEq, uint32(v.Mark), v.Mark.Repeated()), verdict(expr.VerdictGoto, queueChain))...)
	var more []chain
	if c.Keeps() {
		more = t.addKept(c, &flows, &judged)
	}
	flows.add("queue", verdict(expr.VerdictGoto, queueChain))
	judged.add("do it", verdict(expr.VerdictGoto, actChain))

	is := func(verdict vocabulary.MarkVerdict) []expr.Any {
		return v.marked(expr.CmpOpEq, v.Mark.Verdicts(), v.Mark.Value(verdict, 0))
	}
	act.add("accepted", slices.Concat(is(vocabulary.MarkAccept), []expr.Any{&expr.Counter{}}, v.setMark(0), []expr.Any{accept()})...)
	act.add("dropped", slices.Concat(is(vocabulary.MarkDrop), []expr.Any{&expr.Counter{}, verdict(expr.VerdictDrop, "")})...)
	act.add("rejected", append(is(vocabulary.MarkReject), verdict(expr.VerdictReturn, ""))...)
	act.add("no verdict: judge it again", verdict(expr.VerdictGoto, queueChain))
	if c.passesResets() && c.Placement.Exposed() {
		resets := chain{name: resetsChain}
		resets.add("resets of a reject pass", append(stateIs(expr.CtStateBitRELATED), &expr.Counter{}, accept())...)
		more = append(more, resets)
	}
	t.chains = append(append(t.chains, flows, judged, act), more...)
}

// addKept makes what keeps verdicts for flows.
func (t *table) addKept(c Config, flows, judged *chain) (more []chain) {
	v := c.Verdicts
	flow := func(verdict vocabulary.MarkVerdict) []expr.Any {
		return slices.Concat([]expr.Any{&expr.Ct{Key: expr.CtKeyMARK, Register: register}},
			compareBits(expr.CmpOpEq, uint32(v.ConnMark), v.ConnMark.Value(verdict, v.Generation)))
	}
	packet := func(verdict vocabulary.MarkVerdict) []expr.Any {
		return v.marked(expr.CmpOpEq, uint32(v.Mark), v.Mark.Value(verdict, v.Generation))
	}
	counted := func(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Counter{}, verdict(kind, "")} }
	flows.add("flow is accepted", slices.Concat(flow(vocabulary.MarkAccept), counted(expr.VerdictAccept))...)
	flows.add("flow is dropped", slices.Concat(flow(vocabulary.MarkDrop), counted(expr.VerdictDrop))...)
	flows.add("flow is rejected", slices.Concat(flow(vocabulary.MarkReject), v.rejectIt())...)

	list := chain{name: listChain}
	list.add("of another zone", append(zone(expr.CmpOpNeq, 0), verdict(expr.VerdictReturn, ""))...)
	list.add("conntrack has it", append(entryStatus(expr.CmpOpNeq, statusConfirmed), verdict(expr.VerdictReturn, ""))...)
	withPorts := t.addSet(keptProtocolsSet, nftables.TypeInetProto, protocols(vocabulary.PortProtocols()))
	list.add("has no ports", append(protocolIn(withPorts, true), verdict(expr.VerdictReturn, ""))...)
	for _, one := range []struct {
		verdict vocabulary.MarkVerdict
		comment string
	}{{vocabulary.MarkAccept, "accept its flow"}, {vocabulary.MarkDrop, "drop its flow"}, {vocabulary.MarkReject, "reject its flow"}} {
		judged.add(fmt.Sprintf("%s, generation %d in bits %v", one.comment, v.Generation, v.ConnMark), append(packet(one.verdict),
			&expr.Ct{Key: expr.CtKeyMARK, Register: register},
			replaceBits(^uint32(v.ConnMark), v.ConnMark.Value(one.verdict, v.Generation)),
			&expr.Ct{Key: expr.CtKeyMARK, Register: register, SourceRegister: true})...)
		if one.verdict != vocabulary.MarkAccept {
			judged.add("list its flow", append(packet(one.verdict), verdict(expr.VerdictJump, listChain))...)
		}
	}
	more = append(more, list)
	for _, f := range []*ipFamily{ipv4, ipv6} {
		if f == ipv4 && !c.IPv4 || f == ipv6 && !c.IPv6 {
			continue
		}
		s := t.addSet(f.droppedName(), f.droppedKey(), nil)
		s.IsMap, s.DataType, s.Concatenation, s.Dynamic, s.HasTimeout = true, nftables.TypeMark, true, true, true
		s.Size, s.Timeout = droppedSize, droppedTimeout
		t.dropped = append(t.dropped, listing{f, s})
		more[0].rules = append(more[0].rules, v.listing(f, s)...)
		more = append(more, v.addListed(listing{f, s}, flows))
	}
	return more
}

// rejectIt has the base chain reject the packet.
func (v *Verdicts) rejectIt() []expr.Any {
	return slices.Concat([]expr.Any{&expr.Counter{}}, v.setMark(v.Mark.Value(vocabulary.MarkReject, 0)), []expr.Any{verdict(expr.VerdictReturn, "")})
}

// loadDropped loads a packet's key in the map of dropped flows, and names the register
// behind it.
func (f *ipFamily) loadDropped() (load []expr.Any, behind uint32) {
	return append(f.load(), &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: f.part(4)}), f.part(5)
}

// listing makes the rules that put a flow into the map, in place of what is there of it.
func (v *Verdicts) listing(f *ipFamily, s *nftables.Set) []rule {
	load, behind := f.loadDropped()
	load = append(load,
		&expr.Meta{Key: expr.MetaKeyMARK, Register: behind},
		&expr.Bitwise{SourceRegister: behind, DestRegister: behind, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(uint32(v.Mark)), Xor: make([]byte, 4)})
	change := func(operation uint32, timeout time.Duration) expr.Any {
		return &expr.Dynset{SrcRegKey: register, SrcRegData: behind, SetName: s.Name, SetID: s.ID, Operation: operation, Timeout: timeout}
	}
	var c chain
	c.add("strike off", slices.Concat(isFamily(f.number), load, []expr.Any{change(opDelete, 0)})...)
	c.add("list", slices.Concat(isFamily(f.number), load, []expr.Any{change(unix.NFT_DYNSET_OP_ADD, droppedTimeout)})...)
	return c.rules
}

// findDropped matches packets of a listed flow, whose value is behind the key then.
func (l listing) findDropped() (match []expr.Any, behind uint32) {
	load, behind := l.family.loadDropped()
	find := &expr.Lookup{SourceRegister: register, DestRegister: behind, IsDestRegSet: true, SetName: l.set.Name, SetID: l.set.ID}
	return append(load, find), behind
}

// dropped matches those that are dropped, or rejected.
func (v *Verdicts) dropped(l listing, verdict vocabulary.MarkVerdict) []expr.Any {
	match, behind := l.findDropped()
	return append(match, &expr.Cmp{Op: expr.CmpOpEq, Register: behind, Data: binaryutil.NativeEndian.PutUint32(v.Mark.Value(verdict, v.Generation))})
}

// addListed makes what packets of a listed flow meet. The key has no zone.
func (v *Verdicts) addListed(l listing, flows *chain) chain {
	match, _ := l.findDropped()
	flows.add("listed", slices.Concat(isFamily(l.family.number), match, []expr.Any{verdict(expr.VerdictGoto, listedChain(l.family))})...)
	listed := chain{name: listedChain(l.family)}
	listed.add("of another zone", append(zone(expr.CmpOpNeq, 0), verdict(expr.VerdictGoto, queueChain))...)
	listed.add("dropped", append(v.dropped(l, vocabulary.MarkDrop), &expr.Counter{}, verdict(expr.VerdictDrop, ""))...)
	listed.add("rejected", append(v.dropped(l, vocabulary.MarkReject), v.rejectIt()...)...)
	listed.add("of another generation: queue", verdict(expr.VerdictGoto, queueChain))
	return listed
}

// addGateListed has packets pass the gate that are dropped behind it: as none is confirmed,
// none can clash, and the gate would have to prove of each that it is gone.
func (t *table) addGateListed(v *Verdicts, base *chain) {
	for _, l := range t.dropped {
		for _, verdict := range []vocabulary.MarkVerdict{vocabulary.MarkDrop, vocabulary.MarkReject} {
			base.add("of a dropped flow", slices.Concat(isFamily(l.family.number), v.dropped(l, verdict), []expr.Any{accept()})...)
		}
	}
}
