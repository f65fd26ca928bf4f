// Package policy turns a list of rules into a decision about a packet. It is
// pure: it knows no sockets, no configuration file and no clock, so that what
// a rule set does can be tested without a kernel.
//
// The first rule that matches decides; without one, the default does. A list
// that is empty in a rule matches everything. A rule with ports matches no
// packet without ports, and that includes every fragment but the first: what
// must not pass in fragments needs a rule without ports.
//
// It decides on packets that were decoded. What becomes of one whose headers cannot be
// decoded to their end is not a rule's affair: none could look at it.
//
// A Policy does not change after Compile and may be shared by threads.
package policy
