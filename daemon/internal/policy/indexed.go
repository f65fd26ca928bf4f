package policy

import (
	"cmp"
	"net/netip"
	"slices"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/policy/index"
	"verdictd/internal/vocabulary"
)

// chunkRules is how many rules are indexed together: an index of all of them would grow
// with their square.
const chunkRules = index.MostRules

// dimension is one of the index's.
type dimension uint8

const (
	notIndexed dimension = iota
	byFamily
	byHook
	byProtocol
	byIn
	byOut
	bySourcePort
	byDestinationPort
	bySource
	byDestination
	byName
	dimensions
)

// chunk is the index of some rules. A dimension that none of them is about is nil.
type chunk struct {
	first, rules int
	// order are its rules as they are in the rows: those that are about the same dimensions
	// stand together. Rows of others have all of them, so that only a packet that such
	// rules may match makes somebody look at their words.
	order []int
	all   index.Row // where no dimension is

	family, hook, protocol      *index.Small
	sourcePort, destinationPort *index.Ports
	source, destination         *index.Prefixes
	name                        *index.Names
	// What rules want of interfaces, by rule.
	in, out map[int][]int
}

func newChunk(first int, rules []rule) *chunk {
	n := len(rules)
	c := &chunk{first: first, rules: n, order: make([]int, n), all: index.All(n), in: map[int][]int{}, out: map[int][]int{}}
	about := make([]dimensionSet, n)
	for i := range rules {
		c.order[i], about[i] = i, rules[i].match.about()
	}
	slices.SortStableFunc(c.order, func(a, b int) int { return cmp.Compare(about[a], about[b]) })
	return c
}

// dimensionSet has a bit for each dimension.
type dimensionSet uint16

// about are the dimensions that a match is about.
func (m *match) about() (set dimensionSet) {
	for _, condition := range m.flat() {
		if condition.enter != nil {
			set |= 1 << condition.dimension
		}
	}
	return set
}

// enter puts a match into the index, of a rule by its place in the order, and returns what
// is left to be asked.
func (c *chunk) enter(rule int, m *match) (left []condition) {
	var taken [dimensions]bool
	for _, condition := range m.flat() {
		if condition.enter == nil || taken[condition.dimension] {
			left = append(left, condition)
			continue
		}
		taken[condition.dimension] = true
		condition.enter(c, rule)
		if condition.rest != nil {
			left = append(left, *condition.rest)
		}
	}
	return left
}

func (c *chunk) small(d **index.Small) *index.Small {
	if *d == nil {
		*d = index.NewSmall(c.rules)
	}
	return *d
}

func (c *chunk) families(rule int, versions [7]bool) {
	for v, wanted := range versions {
		if wanted {
			c.small(&c.family).Want(rule, uint8(v))
		}
	}
}

func (c *chunk) hooks(rule int, hooks []uint8) {
	for _, h := range hooks {
		c.small(&c.hook).Want(rule, h)
	}
}

func (c *chunk) protocols(rule int, protocols []uint8) {
	for _, p := range protocols {
		c.small(&c.protocol).Want(rule, p)
	}
}

func (c *chunk) devices(rule int, patterns []int, by dimension) {
	if by == byIn {
		c.in[rule] = patterns
	} else {
		c.out[rule] = patterns
	}
}

func (c *chunk) ports(rule int, ranges []vocabulary.PortRange, by dimension) {
	d := &c.sourcePort
	if by == byDestinationPort {
		d = &c.destinationPort
	}
	if *d == nil {
		*d = index.NewPorts(c.rules)
	}
	(*d).Want(rule, ranges)
}

func (c *chunk) prefixes(rule int, list []netip.Prefix, by dimension) {
	d := &c.source
	if by == byDestination {
		d = &c.destination
	}
	if *d == nil {
		*d = index.NewPrefixes(c.rules)
	}
	for _, p := range list {
		(*d).Want(rule, p)
	}
}

func (c *chunk) names(rule int, list []string) {
	if c.name == nil {
		c.name = index.NewNames(c.rules)
	}
	for _, entry := range list {
		if name, covers, err := vocabulary.ParseName(nil, []byte(entry)); err == nil {
			c.name.Want(rule, string(name), covers&vocabulary.CoversSelf != 0, covers&vocabulary.CoversBelow != 0)
		}
	}
}

// build ends the work on it.
func (c *chunk) build() {
	for _, d := range []*index.Small{c.family, c.hook, c.protocol} {
		if d != nil {
			d.Build()
		}
	}
	for _, d := range []*index.Ports{c.sourcePort, c.destinationPort} {
		if d != nil {
			d.Build()
		}
	}
	for _, d := range []*index.Prefixes{c.source, c.destination} {
		if d != nil {
			d.Build()
		}
	}
	if c.name != nil {
		c.name.Build()
	}
}

// look returns the packet's rows in all dimensions, one at least. number is the chunk's.
func (c *chunk) look(d *Decider, number int) []index.Row {
	v, in := d.in.View, d.in
	rows := d.rows[:0]
	if c.protocol != nil {
		rows = append(rows, c.protocol.Row(v.Protocol))
	}
	if c.family != nil {
		rows = append(rows, c.family.Row(v.Version))
	}
	if c.hook != nil {
		rows = append(rows, c.hook.Row(in.Hook))
	}
	if c.destinationPort != nil {
		rows = append(rows, portRow(c.destinationPort, v.HasPorts(), v.DstPort))
	}
	if c.sourcePort != nil {
		rows = append(rows, portRow(c.sourcePort, v.HasPorts(), v.SrcPort))
	}
	if c.destination != nil {
		rows = append(rows, c.destination.Row(d.dst))
	}
	if c.source != nil {
		rows = append(rows, c.source.Row(d.src))
	}
	if c.name != nil && in.Name.State != names.More {
		row := c.name.None()
		if isSeen(&in.Name) {
			row = c.name.Row(in.Name.Name)
		}
		rows = append(rows, row)
	}
	if len(c.in)+len(c.out) > 0 {
		rows = append(rows, d.devices.at(in.InDev).in[number], d.devices.at(in.OutDev).out[number])
	}
	if len(rows) == 0 {
		rows = append(rows, c.all)
	}
	return rows
}

func portRow(d *index.Ports, has bool, port uint16) index.Row {
	if has {
		return d.Row(port)
	}
	return d.None()
}
