// Package policy turns a list of rules into a decision about a packet. It is
// pure: it knows no sockets, no configuration file and no clock, so that what
// a rule set does can be tested without a kernel.
//
// The first rule that matches decides; without one, the default does. A rule that counts
// only matches and lets the search go on. A list that is empty in a rule matches everything.
// A rule with ports matches no packet without ports, and that includes every fragment but
// the first: what must not pass in fragments needs a rule without ports.
//
// It decides on packets that were decoded. What becomes of one whose headers cannot be
// decoded to their end is not a rule's affair: none could look at it.
//
// # Names
//
// A match on a name has three values (Value), as the name of a flow may not be known yet.
// not, any and all follow Kleene's logic: what a name cannot change is decided without it. A
// rule that is pending ends the search; its packet goes on, or waits (Rule.Hold). One
// that counts only is passed over.
//
// Lists of names match names that are known. An outer name, in front of one that is
// encrypted, is in no list: there is Match.NameStates for such flows. A match on a protocol
// is no as soon as the flow has another one.
//
// A flow of DNS has a name in each message. A verdict on one of them is never for the flow
// where a rule on names was asked before it, or gave it.
//
// # Limits
//
// A limit is asked last, where the match is yes. A rule over its limit does not match, and
// the next one is asked. Its state is shared by all workers (package limit), and goes on
// when a policy is compiled again with a rule of the same name and limit.
//
// # How it decides
//
//	condition.go  a match is a list of conditions, one for each key, cheap ones first
//	header.go place.go clock.go name.go payload.go
//	              the conditions
//	indexed.go    which of them package index answers for all rules at once
//	decide.go     the rules that are left, in their order, are asked for the rest
//	explain.go    the same without the index, and all that was tried
//
// A condition on a list alone is answered by the index, unless it is inside of not or any.
// Sets are not in the index, as they change: a set is looked into once for each packet,
// however many rules have it. On an AMD EPYC, 1,000 rules cost a packet some
// 110 ns, and sets with a million prefixes, names and pairs 170 ns more:
//
//	go test ./daemon/internal/policy -run xxx -bench 'Decide|Sets'
//
// # Threads
//
// A Policy does not change after Compile, but for the names of interfaces and what sets
// have, which are swapped atomically. It may be shared by threads. Each has a Decider of
// its own with what is remembered while a packet is decided on, so that nothing is
// allocated and no lock is taken.
package policy
