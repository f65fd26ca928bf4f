package config

import (
	"time"

	"github.com/goccy/go-yaml"

	"verdictd/internal/vocabulary"
)

// Policy decides about a packet: the first rule that matches, or the default.
type Policy struct {
	// Default is what becomes of packets that no rule decides about.
	Default vocabulary.Action `yaml:"default"`
	// Defaults are those of single hooks, which go before default.
	Defaults []HookDefault `yaml:"defaults"`
	// Undecodable is for packets whose headers cannot be decoded to their end, or do not
	// end in the packet's first 512 bytes (the upper layer's included), which
	// no rule can be held against.
	Undecodable vocabulary.Action `yaml:"undecodable"`
	// Flow is what counts for rules that do not say: their verdicts are for whole flows.
	Flow bool `yaml:"flow"`
	// Include names files with more rules and sets, or patterns of such files, from the folder of the
	// configuration. What they have goes behind what is in the configuration, in the order of the files'
	// names.
	Include []string `yaml:"include"`
	// RegexpBytes is how much of a packet's payload regexp looks at, at most.
	RegexpBytes int `yaml:"regexp_bytes"`
	// Names bounds the search for the names of flows.
	Names NameSearch `yaml:"names"`
	// Sets are what entries "@NAME" in rules stand for.
	Sets []Set `yaml:"sets"`
	// Rules are tried in this order.
	Rules []Rule `yaml:"rules"`
	// Samples is where packets go that rules take samples of.
	Samples Samples `yaml:"samples"`
}

// HookDefault is what becomes of packets of a hook that no rule decides about.
type HookDefault struct {
	// Hook is where the packets were queued.
	Hook vocabulary.Hook `yaml:"hook"`
	// Action is accept, drop or reject.
	Action vocabulary.Action `yaml:"action"`
}

// NameSearch bounds the search for names, for each queue. Only policies that look at names make one.
type NameSearch struct {
	// DNSPorts are the ports of DNS.
	DNSPorts []uint16 `yaml:"dns_ports"`
	// Flows is how many flows are remembered, with some 450 bytes each. The one that was quiet
	// for longest is forgotten for a new one.
	Flows int `yaml:"flows"`
	// Buffers is how many names can be put together from several packets at a time.
	Buffers int `yaml:"buffers"`
	// Bytes is how much of a flow may come before its name is known.
	Bytes int `yaml:"bytes"`
	// Packets is how many packets may come before the name is known.
	Packets int `yaml:"packets"`
	// Time is how long the name may take.
	Time time.Duration `yaml:"time"`
	// QUICKeys is how many sets of keys of QUIC are made in a second. Each takes some microseconds, and
	// clients choose how many there have to be.
	QUICKeys int `yaml:"quic_keys"`
}

// Set is a list with a name.
type Set struct {
	// Name is what rules call it, behind an @.
	Name string `yaml:"name"`
	// Type is what it has.
	Type vocabulary.SetType `yaml:"type"`
	// Entries are those that are written here.
	Entries []Entry `yaml:"entries,omitempty"`
	// File has further entries, one a line, plain or gzip; # begins a comment. It counts from the folder
	// of the file that names it. It is followed: a change takes hold by itself, and a file that is wrong
	// leaves the set as it was.
	File string `yaml:"file,omitempty"`
}

// Samples are files with packets (pcapng).
type Samples struct {
	// Directory is where they are written; "" is nowhere.
	Directory string `yaml:"directory"`
	// Bytes is the length of one file.
	Bytes int `yaml:"bytes"`
	// Files is how many there are; the oldest is removed for a new one.
	Files int `yaml:"files"`
}

// Rule says what is done with packets that match.
type Rule struct {
	// Name is what the rule is counted and logged by.
	Name  string `yaml:"name,omitempty"`
	Match `yaml:",inline"`

	// Action is what is done: accept; drop; reject, which the kernel tells the sender; requeue, to another
	// queue; repeat, through the hook once more; or count, after which the next rules decide.
	Action vocabulary.Action `yaml:"action"`
	// Queue is where requeue sends packets to.
	Queue *uint16 `yaml:"queue,omitempty"`
	// SetMark changes the bits of the packet's mark that the mask has.
	SetMark *Mark `yaml:"set_mark,omitempty"`
	// SetConnMark changes the bits of the mark of the packet's flow that the mask has.
	SetConnMark *Mark `yaml:"set_connmark,omitempty"`
	// Limit is the rate within which the rule matches. What is beyond goes to the next rules.
	Limit *Limit `yaml:"limit,omitempty"`
	// Log is how many packets a second are logged, at most.
	Log int `yaml:"log,omitempty"`
	// Sample is how many packets a second are written to policy.samples, at most.
	Sample int `yaml:"sample,omitempty"`
	// Flow makes the verdict one for the whole flow, which the kernel carries out from then on. Without it
	// policy.flow counts.
	Flow *bool `yaml:"flow,omitempty"`
	// Pending is what becomes of packets of which is not known yet whether they match, as their flow's
	// name is not known: they go on, or wait (hold) for as long as policy.names lets it take.
	Pending vocabulary.Pending `yaml:"pending,omitempty"`
}

// Limit is a token bucket, or one for each of several.
type Limit struct {
	// Rate is packets in a second (s), a minute (m) or an hour (h).
	Rate Rate `yaml:"rate"`
	// Burst is how many packets match at once after a pause; 0: as many as rate has packets.
	Burst int `yaml:"burst"`
	// Per is what has a bucket of its own: the rule, each source, each destination, or each entry of the
	// set that matched.
	Per vocabulary.LimitPer `yaml:"per"`
	// IPv4 is how many bits of an IPv4 address make a source or destination.
	IPv4 int `yaml:"ipv4"`
	// IPv6 is how many bits of an IPv6 address make a source or destination.
	IPv6 int `yaml:"ipv6"`
	// Entries is how many buckets there are, at most.
	Entries int `yaml:"entries"`
}

// MarshalYAML leaves out what has no effect with per, which a file may not have.
func (l Limit) MarshalYAML() (any, error) {
	text := yaml.MapSlice{{Key: "rate", Value: l.Rate}, {Key: "burst", Value: l.Burst}, {Key: "per", Value: l.Per}}
	if l.Per == vocabulary.LimitSource || l.Per == vocabulary.LimitDestination {
		text = append(text, yaml.MapItem{Key: "ipv4", Value: l.IPv4}, yaml.MapItem{Key: "ipv6", Value: l.IPv6})
	}
	if l.Per != vocabulary.LimitRule {
		text = append(text, yaml.MapItem{Key: "entries", Value: l.Entries})
	}
	return text, nil
}

// setDefaults is for the keys that a written limit leaves out.
func (l *Limit) setDefaults() {
	*l = Limit{Per: vocabulary.LimitRule, IPv4: 32, IPv6: 64, Entries: 1 << 16}
}
