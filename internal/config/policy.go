package config

import (
	"time"

	"verdictd/internal/vocabulary"
)

// Policy decides about a packet: the first rule that matches, or the default.
type Policy struct {
	Default vocabulary.Action `yaml:"default"`
	// Defaults are those of single hooks.
	Defaults []HookDefault `yaml:"defaults"`
	// Undecodable is for packets whose headers cannot be decoded to their end, which
	// no rule can be held against.
	Undecodable vocabulary.Action `yaml:"undecodable"`
	// Flow is what counts for rules that do not say: their verdicts are for the whole flow.
	Flow bool `yaml:"flow"`
	// Include names files with more rules and sets, or patterns of such files. What they have is
	// in Rules and Sets, behind what this file has, in the order of the files' names.
	Include []string `yaml:"include"`
	// RegexpBytes is how much of a packet's payload Match.Regexp looks at, at most.
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
	Hook   vocabulary.Hook   `yaml:"hook"`
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
	// Bytes, Packets and Time bound what one name may take.
	Bytes   int           `yaml:"bytes"`
	Packets int           `yaml:"packets"`
	Time    time.Duration `yaml:"time"`
	// QUICKeys is how many sets of keys of QUIC are made in a second.
	QUICKeys int `yaml:"quic_keys"`
}

// Set is a list with a name.
type Set struct {
	Name string             `yaml:"name"`
	Type vocabulary.SetType `yaml:"type"`
	// Entries are in the forms of daemon/internal/sets.
	Entries []Entry `yaml:"entries,omitempty"`
	// File has further entries, one a line; "" is none. It is absolute where the configuration
	// was loaded from a file.
	File string `yaml:"file,omitempty"`
}

// Samples are files with packets (pcapng).
type Samples struct {
	// Directory is where they are written; "" is nowhere.
	Directory string `yaml:"directory"`
	// Bytes is the length of one file, and Files how many there are.
	Bytes int `yaml:"bytes"`
	Files int `yaml:"files"`
}

// Rule says what is done with packets that match.
type Rule struct {
	Name  string `yaml:"name,omitempty"`
	Match `yaml:",inline"`

	Action vocabulary.Action `yaml:"action"`
	// Queue is where vocabulary.Requeue sends packets to.
	Queue *uint16 `yaml:"queue,omitempty"`
	// SetMark and SetConnMark change the bits of the packet's mark, and of its flow's, that their masks have.
	SetMark     *Mark `yaml:"set_mark,omitempty"`
	SetConnMark *Mark `yaml:"set_connmark,omitempty"`
	// Limit is the rate within which the rule matches; nil is none.
	Limit *Limit `yaml:"limit,omitempty"`
	// Log is how many packets a second are logged, and Sample how many are written to Policy.Samples.
	Log    int `yaml:"log,omitempty"`
	Sample int `yaml:"sample,omitempty"`
	// Flow makes the verdict one for the whole flow; nil: as Policy.Flow says.
	Flow *bool `yaml:"flow,omitempty"`
	// Pending is what becomes of packets that may match, when the flow's name is known; empty is PendingAccept.
	Pending vocabulary.Pending `yaml:"pending,omitempty"`
}

// Limit is a token bucket, or one for each of several.
type Limit struct {
	Rate Rate `yaml:"rate"`
	// Burst is how many packets match at once after a pause; 0: as many as Rate.Packets.
	Burst int `yaml:"burst"`
	// Per is what has a bucket of its own.
	Per vocabulary.LimitPer `yaml:"per"`
	// IPv4 and IPv6 are how many bits of an address count.
	IPv4 int `yaml:"ipv4"`
	IPv6 int `yaml:"ipv6"`
	// Entries is how many buckets there are at most.
	Entries int `yaml:"entries"`
}

// setDefaults is for the keys that a written limit leaves out.
func (l *Limit) setDefaults() {
	*l = Limit{Per: vocabulary.LimitRule, IPv4: 32, IPv6: 64, Entries: 1 << 16}
}
