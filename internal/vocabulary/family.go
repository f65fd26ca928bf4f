package vocabulary

// Family is a version of IP.
type Family string

// Both that there are.
const (
	IPv4 Family = "ipv4"
	IPv6 Family = "ipv6"
)

// Families are both.
func Families() []Family { return []Family{IPv4, IPv6} }

// Values lists the families.
func (Family) Values() []string { return words(Families()...) }
