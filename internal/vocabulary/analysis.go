package vocabulary

// Distribution is how the time that an analysis takes is drawn.
type Distribution string

// None, always the same, evenly spread, and with a long tail.
const (
	DistributionNone      Distribution = "none"
	DistributionFixed     Distribution = "fixed"
	DistributionUniform   Distribution = "uniform"
	DistributionLogNormal Distribution = "lognormal"
)

// Values lists the distributions.
func (Distribution) Values() []string {
	return words(DistributionNone, DistributionFixed, DistributionUniform, DistributionLogNormal)
}

// Per is what one analysis stands for.
type Per string

// Each packet, or the first one of a flow.
const (
	PerPacket Per = "packet"
	PerFlow   Per = "flow"
)

// Values lists them.
func (Per) Values() []string { return words(PerPacket, PerFlow) }
