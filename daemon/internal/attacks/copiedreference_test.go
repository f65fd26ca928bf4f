package attacks

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// conditions are those of rules, beside what nftables says of the same.
var conditions = []struct{ rule, nft string }{
	{`family: [ipv6]`, `meta nfproto ipv6`},
	{`protocols: [udp]`, `meta l4proto udp`},
	{`protocols: [tcp, sctp, dccp]`, `meta l4proto { tcp, sctp, dccp }`},
	{`protocols: [icmp, icmpv6, gre, 50]`, `meta l4proto { icmp, icmpv6, gre, esp }`},
	{`destination_ports: [53]`, `meta l4proto { tcp, udp, udplite, sctp, dccp } th dport 53`},
	{`source_ports: [1000-1999]`, `meta l4proto { tcp, udp, udplite, sctp, dccp } th sport 1000-1999`},
	{`length: [0-511]`, `meta length 0-511`},
	{`length: [512]`, `meta length 512`},
	{`length: [513-9000]`, `meta length 513-9000`},
	{`ttl: [4-5]`, `meta nfproto ipv4 ip ttl 4-5`},
	{`dscp: [ef]`, `meta nfproto ipv4 ip dscp ef`},
	{`protocols: [udp], payload: [{offset: 3, bytes: "61"}]`, `meta l4proto udp @th,88,8 0x61`},
	{`protocols: [udp], payload: [{offset: 499, bytes: "61"}]`, `meta l4proto udp @th,4056,8 0x61`},
	{`protocols: [udp], payload: [{offset: 1000, bytes: "0a", mask: "0f"}]`, `meta l4proto udp @th,8064,8 & 0x0f == 0x0a`},
}

// both are the conditions of nftables for one that has a key for each family there.
func both(nft string) []string {
	if rest, ok := strings.CutPrefix(nft, "meta nfproto ipv4 ip ttl"); ok {
		return []string{nft, "meta nfproto ipv6 ip6 hoplimit" + rest}
	}
	if rest, ok := strings.CutPrefix(nft, "meta nfproto ipv4 ip dscp"); ok {
		return []string{nft, "meta nfproto ipv6 ip6 dscp" + rest}
	}
	return []string{nft}
}

// kernelCounts has nftables count plain packets by the conditions.
func (c *copying) kernelCounts() {
	c.Helper()
	var text strings.Builder
	text.WriteString("table inet reference {\n")
	for i := range conditions {
		fmt.Fprintf(&text, "counter c%d { }\n", i)
	}
	text.WriteString("chain forward { type filter hook forward priority -170\n")
	for i, condition := range conditions {
		for _, nft := range both(condition.nft) {
			fmt.Fprintf(&text, "ip saddr %s %s counter name c%d\nip6 saddr %s %s counter name c%d\n", plain[false], nft, i, plain[true], nft, i)
		}
	}
	text.WriteString("}\n}\n")
	c.in(c.near, func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(text.String())
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

var counterOf = regexp.MustCompile(`counter c(\d+) \{\s*packets (\d+)`)

// counted are the kernel's numbers.
func (c *copying) counted() map[string]uint64 {
	c.Helper()
	out := map[string]uint64{}
	c.in(c.near, func() error {
		text, err := exec.Command("nft", "list", "table", "inet", "reference").CombinedOutput()
		for _, m := range counterOf.FindAllSubmatch(text, -1) {
			var i int
			var n uint64
			_, bad := fmt.Sscan(string(m[1])+" "+string(m[2]), &i, &n)
			err = errors.Join(err, bad)
			out[fmt.Sprintf("c%d count", i)] = n
		}
		return err
	})
	return out
}

// policy is made up of conditions.
func (m *maker) policy(round int, actions []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "policy:\n  default: %s\n  undecodable: %s\n  regexp_bytes: %d\n  rules:\n  - {name: last, source: [203.0.113.9/32], action: accept}\n",
		oneOf(m, "accept", "drop"), oneOf(m, "accept", "drop"), oneOf(m, 1, 100, 1024))
	list := conditions[:len(conditions)-3] // headers alone
	if round%2 == 1 {
		list = append(slices.Clone(conditions), []struct{ rule, nft string }{
			{rule: `regexp: "b$"`}, {rule: `regexp: "^a[^b]*b"`}, {rule: `payload: [{offset: 470, bytes: "62"}]`}, {rule: `regexp: "^$"`},
		}...)
	}
	for i := range 5 {
		condition := oneOf(m, list...).rule
		if m.IntN(3) == 0 {
			condition = "not: {" + condition + "}"
		}
		fmt.Fprintf(&b, "  - {name: r%d, action: %s, %s, all: [{%s}]}\n", i,
			oneOf(m, actions...), condition, oneOf(m, list...).rule)
	}
	return b.String()
}
