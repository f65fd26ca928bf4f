package ruleset

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// family is that of every table here: one serves IPv4 and IPv6.
const family = nftables.TableFamilyINet

// Names in the table besides those of the hooks.
const (
	selectChain = "select"
	queueChain  = "verdicts" // nft takes "queue" for a statement
	exemptChain = "exempt"

	protocolsSet        = "protocols"
	destinationPortsSet = "destination-ports"
	sourcePortsSet      = "source-ports"
	portProtocolsSet    = "port-protocols"
)

// commentPrefix begins the comment of every rule of ours.
const commentPrefix = "verdictd: "

// A table is what is to be installed, as data.
type table struct {
	name   string
	sets   []set
	chains []chain

	dropped []listing // sets of dropped flows
}

type set struct {
	*nftables.Set
	elements []nftables.SetElement
}

type chain struct {
	name  string
	hook  *hook // nil: no base chain
	rules []rule
}

type rule struct {
	comment     string
	expressions []expr.Any
}

// newTable lays out the table for a configuration.
func newTable(c Config, kind Kind, can gateParts) *table {
	t := &table{name: c.Table}
	if c.Placement != vocabulary.PlacementNone {
		t.addHooks(c)
		if c.Detached {
			t.sets = nil // those of the rules that are left out
			for i := range t.chains {
				t.chains[i].rules = nil
			}
		}
		t.addSelection(c)
		if c.Verdicts != nil {
			t.addVerdicts(c)
		}
		t.addQueues(c, kind)
	}
	if c.Gate != nil {
		t.addGate(c, kind, can)
		if c.GateDetached {
			for i, one := range t.chains {
				if slices.Contains(gateBases, one.name) {
					t.chains[i].rules = nil
				}
			}
		}
	}
	return t
}

// addHooks makes the base chains.
func (t *table) addHooks(c Config) {
	for _, h := range c.hooks() {
		base := chain{name: h.chain(), hook: &h}
		if h.exempt {
			base.add("exempt from connection tracking", verdict(expr.VerdictJump, exemptChain))
			t.chains = append(t.chains, base)
			continue
		}
		if h.skipLoopback {
			base.add("queued on its way out", append(fromLoopback(), &expr.Counter{}, accept())...)
		}
		if h.sendsErrors() {
			t.addErrors(c, &base)
		}
		if c.Verdicts != nil {
			t.addVerdictHook(c, h, &base)
			continue
		}
		base.add("select and queue", verdict(expr.VerdictJump, selectChain))
		t.chains = append(t.chains, base)
	}
}

// addSelection makes the chains that pick the packets out.
func (t *table) addSelection(c Config) {
	picked := t.selection(c)
	if c.Verdicts == nil {
		t.chains = append(t.chains, picked(selectChain, expr.VerdictReturn, "queue", verdict(expr.VerdictGoto, queueChain)))
	} else {
		// What comes back from there is to be rejected.
		queue := picked(selectChain, expr.VerdictAccept, "queue", verdict(expr.VerdictGoto, flowsChain))
		queue.add("let others pass", accept())
		t.chains = append(t.chains, queue, picked(unmarkChain, expr.VerdictReturn, "take off marks of others", c.Verdicts.unmark()...))
	}
	if c.Placement == vocabulary.PlacementNotrack || c.Also == vocabulary.PlacementNotrack {
		t.chains = append(t.chains, picked(exemptChain, expr.VerdictReturn, "exempt", &expr.Counter{}, &expr.Notrack{}))
	}
}

// selection returns what makes a chain that does something with the selected packets; what
// becomes of others is pass.
func (t *table) selection(c Config) func(name string, pass expr.VerdictKind, comment string, do ...expr.Any) chain {
	type condition struct {
		comment string
		match   []expr.Any
	}
	var others []condition
	if !c.IPv4 {
		others = append(others, condition{"let IPv4 pass", isFamily(unix.NFPROTO_IPV4)})
	}
	if !c.IPv6 {
		others = append(others, condition{"let IPv6 pass", isFamily(unix.NFPROTO_IPV6)})
	}
	if len(c.Protocols) > 0 {
		s := t.addSet(protocolsSet, nftables.TypeInetProto, protocols(distinct(c.Protocols)))
		others = append(others, condition{"let other protocols pass", protocolIn(s, true)})
	}
	var matches [][]expr.Any
	if len(c.DestinationPorts) > 0 {
		s := t.addSet(destinationPortsSet, nftables.TypeInetService, ports(distinct(c.DestinationPorts)))
		matches = append(matches, portIn(s, destinationPort))
	}
	if len(c.SourcePorts) > 0 {
		s := t.addSet(sourcePortsSet, nftables.TypeInetService, ports(distinct(c.SourcePorts)))
		matches = append(matches, portIn(s, sourcePort))
	}
	if len(matches) == 0 {
		matches = [][]expr.Any{nil}
	}
	return func(name string, pass expr.VerdictKind, comment string, do ...expr.Any) chain {
		made := chain{name: name}
		for _, o := range others {
			made.add(o.comment, append(slices.Clone(o.match), verdict(pass, ""))...)
		}
		for _, match := range matches {
			made.add(comment, slices.Concat(match, do)...)
		}
		return made
	}
}

// Messages that pass before a queue on the way out. An error that this host sends
// carries the entry of the packet that it is about, often one without a place in
// conntrack's table yet, and the kernel drops such a packet where it would queue it
// (7d8dc1c7be8d). The others hold the neighbourhood together, and are not tracked.
var (
	errorsICMP   = []uint8{3, 4, 5, 11, 12}
	errorsICMPv6 = []uint8{1, 2, 3, 4, 130, 131, 132, 133, 134, 135, 136, 137, 143}
)

// addErrors lets them pass, where they are selected.
func (t *table) addErrors(c Config, base *chain) {
	for _, m := range []struct {
		wanted   bool
		family   *ipFamily
		protocol uint8
		types    []uint8
		comment  string
	}{
		{c.IPv4, ipv4, unix.IPPROTO_ICMP, errorsICMP, "ICMP errors pass"},
		{c.IPv6, ipv6, unix.IPPROTO_ICMPV6, errorsICMPv6, "ICMPv6 errors and neighbour discovery pass"},
	} {
		if m.wanted && (len(c.Protocols) == 0 || slices.Contains(c.Protocols, m.protocol)) {
			base.add(m.comment, append(t.messageIs(m.family, m.protocol, m.types), &expr.Counter{}, accept())...)
		}
	}
}

// addQueues makes the chain that selected packets come to, and for a fan-out that
// the queue statement itself does not have, one chain for each queue.
func (t *table) addQueues(c Config, kind Kind) {
	queue := chain{name: queueChain}
	whole := queueRange{
		first:  c.FirstQueue,
		total:  c.Queues,
		bypass: c.Bypass,
		cpu:    c.Queues > 1 && c.Fanout == vocabulary.FanoutCPU,
	}
	if !c.chainPerQueue() {
		queue.add("queue", &expr.Counter{}, queueStatement(kind, whole))
		t.chains = append(t.chains, queue)
		return
	}

	var numbered []chain
	for i := range c.Queues {
		one := chain{name: fmt.Sprintf("queue-%d", c.FirstQueue+i)}
		one.add("queue", &expr.Counter{}, queueStatement(kind, queueRange{first: c.FirstQueue + i, total: 1, bypass: c.Bypass}))
		numbered = append(numbered, one)
	}
	m := t.addQueueMap(&c, numbered)

	switch c.Fanout {
	case vocabulary.FanoutNumgen:
		queue.add("queues in turn", turn(c.Queues), goByNumber(m))
	case vocabulary.FanoutPorts:
		if p := c.protocolsWithPorts(); len(p) > 0 {
			s := t.addSet(portProtocolsSet, nftables.TypeInetProto, protocols(p))
			for _, f := range []struct {
				wanted    bool
				protocol  byte
				addresses addresses
			}{
				{c.IPv4, unix.NFPROTO_IPV4, addressesIPv4},
				{c.IPv6, unix.NFPROTO_IPV6, addressesIPv6},
			} {
				if f.wanted {
					queue.add("queue by addresses and ports", slices.Concat(
						isFamily(f.protocol), protocolIn(s, false), loadFlow(f.addresses),
						[]expr.Any{hashFlow(f.addresses, c.Queues), goByNumber(m)},
					)...)
				}
			}
		}
		queue.add("no ports: queue by addresses", &expr.Counter{}, queueStatement(kind, whole))
	}
	t.chains = append(append(t.chains, queue), numbered...)
}

// protocolsWithPorts are the selected protocols that the fan-out by ports can
// hash. In the first bytes of other headers are checksums, which would tear a
// flow apart.
func (c Config) protocolsWithPorts() []uint8 {
	if len(c.Protocols) == 0 {
		return vocabulary.PortProtocols()
	}
	return slices.DeleteFunc(distinct(c.Protocols), func(p uint8) bool { return !vocabulary.HasPorts(p) })
}

func (t *table) addSet(name string, key nftables.SetDatatype, elements []nftables.SetElement) *nftables.Set {
	s := &nftables.Set{Name: name, ID: uint32(len(t.sets) + 1), KeyType: key}
	t.sets = append(t.sets, set{s, elements})
	return s
}

func (c *chain) add(comment string, expressions ...expr.Any) {
	c.rules = append(c.rules, rule{comment, expressions})
}

func verdict(kind expr.VerdictKind, chain string) expr.Any {
	return &expr.Verdict{Kind: kind, Chain: chain}
}

func accept() expr.Any { return verdict(expr.VerdictAccept, "") }

func distinct[T uint8 | uint16](list []T) []T {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

// create puts the whole table into the connection's transaction, which fails
// if a table of that name exists.
func (t *table) create(conn *nftables.Conn) error {
	parent := conn.CreateTable(&nftables.Table{Name: t.name, Family: family})
	policy := nftables.ChainPolicyAccept
	for _, c := range t.chains {
		added := &nftables.Chain{Name: c.name, Table: parent}
		if c.hook != nil {
			added.Type = nftables.ChainTypeFilter
			added.Hooknum = c.hook.number()
			added.Priority = &c.hook.priority
			added.Policy = &policy
		}
		conn.AddChain(added)
	}
	return t.fill(conn, parent)
}

// fill puts the sets and rules into the connection's transaction.
func (t *table) fill(conn *nftables.Conn, parent *nftables.Table) error {
	for _, s := range t.sets {
		s.Table = parent
		if err := conn.AddSet(s.Set, s.elements); err != nil {
			return fmt.Errorf("encode set %s: %w", s.Name, err)
		}
	}
	for _, c := range t.chains {
		for _, r := range c.rules {
			conn.AddRule(&nftables.Rule{
				Table:    parent,
				Chain:    &nftables.Chain{Name: c.name, Table: parent},
				Exprs:    r.expressions,
				UserData: userdata.AppendString(nil, userdata.TypeComment, commentPrefix+r.comment),
			})
		}
	}
	return nil
}
