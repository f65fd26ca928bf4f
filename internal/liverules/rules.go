package liverules

import (
	"fmt"
	"strings"

	"verdictd/internal/vocabulary"
)

// Rules is what a network namespace does with queued packets.
type Rules struct {
	Queues    []QueueRule `json:"queues"`
	Rewrites  []Rewrite   `json:"rewrites"`
	Notracks  []Notrack   `json:"notracks"`
	Conntrack Conntrack   `json:"conntrack"`

	// SourceNAT are the rules that give packets another source.
	SourceNAT []Rewrite `json:"source_nat"`

	// Zones are the rules that put packets into conntrack zones.
	Zones []Zone `json:"zones,omitempty"`

	// Mangling are the rules that write packets' ports: behind them a match tells
	// another port than the packet came with.
	Mangling []Place `json:"mangling,omitempty"`

	// IPVS says whether virtual services of IPVS are there whose connections are
	// not tracked (net.ipv4.vs.conntrack is 0).
	IPVS Answer `json:"ipvs_untracked"`

	// Unread is what could not be read. If there is any, rules may be missing.
	Unread []Unread `json:"unread,omitempty"`

	// assuming makes the analysis again for another answer about conntrack.
	assuming func(Conntrack) *Rules
}

// Assuming are the same rules, judged as if this were known of conntrack. It is for
// rules that were read, not for those that came from JSON.
func (r *Rules) Assuming(c Conntrack) *Rules {
	if r.assuming == nil {
		return r
	}
	assumed := r.assuming(c)
	assumed.Unread = r.Unread
	return assumed
}

// Answer is that to a question which the rules may not settle.
type Answer string

// The answers.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

// Unread is a source of rules that could not be read.
type Unread struct {
	What string `json:"what"`
	Why  string `json:"why"`
	err  error
}

// Unwrap gives the cause for errors.Is.
func (u Unread) Unwrap() error { return u.err }

func (u Unread) Error() string { return u.What + ": " + u.Why }

// Source is the part of the kernel that has a rule.
type Source string

// The sources. What iptables-nft writes is nftables'.
const (
	NFTables Source = "nftables"
	XTables  Source = "xtables" // legacy iptables and ip6tables
)

// Family is which packets a table sees.
type Family string

// The families, named as nft does.
const (
	IPv4   Family = "ip"
	IPv6   Family = "ip6"
	Inet   Family = "inet"
	Bridge Family = "bridge"
	NetDev Family = "netdev"
	ARP    Family = "arp"
)

// Place is where a rule is.
type Place struct {
	Source Source `json:"source"`
	Family Family `json:"family"`
	Table  string `json:"table"`
	Chain  string `json:"chain"`
	Handle uint64 `json:"handle,omitempty"` // nftables only
	Number int    `json:"number"`           // within its chain, from 1
}

// String names the rule as the program that deletes it wants it.
func (p Place) String() string {
	if p.Source == NFTables {
		return fmt.Sprintf("nftables rule %s %s %s handle %d", p.Family, p.Table, p.Chain, p.Handle)
	}
	program := "iptables"
	if p.Family == IPv6 {
		program = "ip6tables"
	}
	return fmt.Sprintf("%s rule -t %s %s %d", program, p.Table, p.Chain, p.Number)
}

// QueueRule is a rule that queues packets.
type QueueRule struct {
	Place
	QueueStatement

	// Comment is what its maker noted; nftables only.
	Comment string `json:"comment,omitempty"`

	// Match is the rule's own, in a short form of nft's notation; empty: all
	// packets that come to it.
	Match string `json:"match"`

	// Reaches are the base chains from which packets come to the rule. Without
	// any, none does.
	Reaches []Reach `json:"reaches"`

	// Exposure is the worst of the reaches'.
	Exposure Exposure `json:"exposure"`
	Reason   string   `json:"reason"`
}

// String is the rule's place and what it does.
func (q QueueRule) String() string {
	words := []string{q.Place.String() + ":"}
	if q.Match != "" {
		words = append(words, q.Match)
	}
	return strings.Join(append(words, q.QueueStatement.String()), " ")
}

// QueueStatement is what a rule that queues says.
type QueueStatement struct {
	// Statement is how the rule says it: "queue" is nftables' own, "NFQUEUE"
	// xtables' target, be it in a legacy table or through nft_compat, and "QUEUE"
	// the bare verdict, which goes to queue 0.
	Statement string `json:"statement"`

	// The queues First to Last, unless Computed.
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`

	// Computed: the number comes from an expression or a map in the rule, and
	// may be any.
	Computed bool `json:"computed,omitempty"`

	Bypass bool   `json:"bypass"`
	Fanout Fanout `json:"fanout"`
}

// Fanout is how packets are spread over several queues.
type Fanout string

// The fan-outs.
const (
	FanoutNone    Fanout = "none"
	FanoutBalance Fanout = "balance" // by a hash of the addresses
	FanoutCPU     Fanout = "cpu"
	FanoutMap     Fanout = "map" // by a number, a hash or a map: within the rule, or on the way to it
)

// String is close to nft's notation.
func (q QueueStatement) String() string {
	words := []string{q.Statement}
	switch {
	case q.Computed:
		words = append(words, "to a computed number")
	case q.First == q.Last:
		words = append(words, fmt.Sprintf("to %d", q.First))
	default:
		words = append(words, fmt.Sprintf("to %d-%d", q.First, q.Last))
	}
	if q.Bypass {
		words = append(words, "bypass")
	}
	if q.Fanout != FanoutNone {
		words = append(words, "fanout "+string(q.Fanout))
	}
	return strings.Join(words, " ")
}

// Way is how packets come to a rule.
type Way struct {
	Hook     vocabulary.Hook `json:"hook"`
	Priority int             `json:"priority"`

	// Chains are those from the base chain to the rule's, both included; if
	// there are several ways from one base chain, those of one of them.
	Chains []string `json:"chains"`

	// Families are those whose packets can come this way.
	Families []Family `json:"families"`

	// Packets are those that can, as far as the conditions are understood.
	Packets []Selection `json:"packets,omitempty"`
}

// Reach is a way to a queue rule, and what it means.
type Reach struct {
	Way

	// Match is what the packets have met on the way, the rule's own match
	// included; empty: all of them come.
	Match string `json:"match"`

	// Position is that against conntrack.
	Position Position `json:"position"`

	// Untracked says whether a notrack rule has exempted the packets before;
	// unknown: some of them, perhaps.
	Untracked Answer `json:"untracked"`

	Exposure Exposure `json:"exposure"`
	Reason   string   `json:"reason"`
}

// Zone is a rule that puts packets into a conntrack zone.
type Zone struct {
	Place
	ID       uint16 `json:"id"`
	Computed bool   `json:"computed,omitempty"` // the number comes from a map or a mark
	// Direction is the one that the zone holds for, original or reply; empty: both.
	Direction string `json:"direction,omitempty"`
}

// Rewrite is a rule that gives packets another destination, or another source.
type Rewrite struct {
	Place
	Kind  string `json:"kind"` // dnat, redirect, netmap or tproxy; snat or masquerade
	Match string `json:"match"`
	Ways  []Way  `json:"ways"`
}

// Notrack is a rule that exempts packets from connection tracking.
type Notrack struct {
	Place
	Match string `json:"match"`
	Ways  []Way  `json:"ways"`
}
