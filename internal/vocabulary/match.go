package vocabulary

// Fragment is what part of a datagram a packet has.
type Fragment string

// The parts.
const (
	FragmentWhole Fragment = "whole" // no fragment
	FragmentFirst Fragment = "first"
	FragmentLater Fragment = "later" // has no ports
)

// Values lists the parts.
func (Fragment) Values() []string { return words(FragmentWhole, FragmentFirst, FragmentLater) }

// Conntrack is what conntrack says of a packet and of its flow.
type Conntrack string

// What it says: enum ip_conntrack_info of NFQA_CT_INFO, and bits of enum ip_conntrack_status of NFQA_CT.
const (
	ConntrackNew         Conntrack = "new"
	ConntrackEstablished Conntrack = "established"
	ConntrackRelated     Conntrack = "related"
	ConntrackReply       Conntrack = "reply" // the packet goes the way back
	ConntrackInvalid     Conntrack = "invalid"
	ConntrackUntracked   Conntrack = "untracked"
	ConntrackSNAT        Conntrack = "snat" // the flow's source is translated
	ConntrackDNAT        Conntrack = "dnat"
)

// Values lists what it says.
func (Conntrack) Values() []string {
	return words(ConntrackNew, ConntrackEstablished, ConntrackRelated, ConntrackReply, ConntrackInvalid, ConntrackUntracked,
		ConntrackSNAT, ConntrackDNAT)
}

// NameState is what is known of a flow's name.
type NameState string

// What there is to know.
const (
	NameNone    NameState = "none"     // it has none
	NameHidden  NameState = "hidden"   // the true one is encrypted
	NameTooLong NameState = "too-long" // it did not come within the bounds
	NameKnown   NameState = "known"
)

// Values lists what there is to know.
func (NameState) Values() []string { return words(NameNone, NameHidden, NameTooLong, NameKnown) }

// Day is one of the week.
type Day string

// Days begin with Sunday, as those of package time do.
func Days() []Day { return []Day{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

// Values lists the days.
func (Day) Values() []string { return words(Days()...) }

// LimitPer is what has a rate of its own.
type LimitPer string

// What that may be.
const (
	LimitRule        LimitPer = "rule"
	LimitSource      LimitPer = "source"
	LimitDestination LimitPer = "destination"
	LimitEntry       LimitPer = "entry" // of the set that matched
)

// Values lists what that may be.
func (LimitPer) Values() []string { return words(LimitRule, LimitSource, LimitDestination, LimitEntry) }

// Pending is what becomes of packets of a flow whose name is not known yet.
type Pending string

// What that may be.
const (
	PendingAccept Pending = "accept"
	PendingHold   Pending = "hold"
)

// Values lists what that may be.
func (Pending) Values() []string { return words(PendingAccept, PendingHold) }

// SetType is what a set has.
type SetType string

// The types.
const (
	SetPrefixes SetType = "prefixes"
	SetPorts    SetType = "ports"
	SetNames    SetType = "names"
	SetPairs    SetType = "pairs" // addresses, each with a port
)

// Values lists the types.
func (SetType) Values() []string { return words(SetPrefixes, SetPorts, SetNames, SetPairs) }
