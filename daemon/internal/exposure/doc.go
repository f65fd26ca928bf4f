// Package exposure makes of the live rules what a gate before conntrack has to hold:
// the traffic of the queue rules that expose, no more and no less, and what the gate
// cannot do for them.
//
// [Make] is pure: the same rules give the same plan, so that a program which follows
// the rules compares the new plan with the old one and finds out whether there is
// anything to do.
//
// # What the traffic is
//
// The gate stands at OUTPUT and PREROUTING, before NAT, and takes packets by family,
// protocol and ports. A queue rule's conditions are taken as far as these can
// express them; what they cannot (addresses, interfaces, marks, sets that change by
// themselves) is left out, so that the gate may take more than the rule does, and
// never less. Where DNAT stands before the queue, the ports that its rules match are
// added: those are what the packets have at the gate. Ports count for both
// directions, as a flow may begin at either end.
//
// # Whose conntrack it is
//
// The gate's own rules ask conntrack and so keep it active. The rules are to be read
// with the gate's table left out of that question (liverules.Read), or the gate
// would be its own reason. One gate's table serves both families, and so activates
// conntrack for both: where it was active for one, the other one's rules are planned
// as if it were, too.
package exposure
