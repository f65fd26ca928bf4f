package ruleset

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Show renders a table of ours as the kernel has it now, close to nft's
// notation. It returns ErrNotFound or ErrForeign where there is none.
func Show(name string) (string, error) {
	text, err := show(name)
	if err != nil {
		return "", fmt.Errorf("show table inet %s: %w", name, err)
	}
	return text, nil
}

func show(name string) (string, error) {
	f, err := find(name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", name)
	conn := &nftables.Conn{}
	sets, err := conn.GetSets(f.table)
	if err != nil {
		return "", fmt.Errorf("list the sets: %w", err)
	}
	for _, s := range sets {
		elements, err := conn.GetSetElements(s)
		if err != nil {
			return "", fmt.Errorf("list the elements of set %s: %w", s.Name, err)
		}
		text, err := setText(s, elements)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "\t%s\n", text)
	}
	for _, c := range f.chains {
		rules, err := conn.GetRules(f.table, c)
		if err != nil {
			return "", fmt.Errorf("list the rules of chain %s: %w", c.Name, err)
		}
		fmt.Fprintf(&b, "\tchain %s {\n", c.Name)
		if c.Hooknum != nil {
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %d\n", c.Type, hookName(*c.Hooknum), *c.Priority)
		}
		for _, r := range rules {
			fmt.Fprintf(&b, "\t\t%s\n", ruleText(r))
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String(), nil
}

func hookName(h nftables.ChainHook) string {
	names := []string{"prerouting", "input", "forward", "output", "postrouting"} // enum nf_inet_hooks
	if int(h) < len(names) {
		return names[h]
	}
	return fmt.Sprint(uint32(h))
}

// setText renders a set or verdict map in the order of its keys.
func setText(s *nftables.Set, elements []nftables.SetElement) (string, error) {
	slices.SortFunc(elements, func(a, b nftables.SetElement) int {
		return cmp.Compare(keyNumber(s, a.Key), keyNumber(s, b.Key))
	})
	texts := make([]string, len(elements))
	for i, e := range elements {
		texts[i] = fmt.Sprint(keyNumber(s, e.Key))
		if s.IsMap {
			v, err := parseVerdict(e.Val)
			if err != nil {
				return "", fmt.Errorf("decode map %s: %w", s.Name, err)
			}
			texts[i] += " : " + verdictText(v)
		}
	}
	kind := "set"
	if s.IsMap {
		kind = "map"
	}
	return fmt.Sprintf("%s %s { %s }", kind, s.Name, strings.Join(texts, ", ")), nil
}

// keyNumber decodes a key: ports and protocols are as in packets, the numbers
// in the map to the queues as in registers.
func keyNumber(s *nftables.Set, key []byte) uint32 {
	if s.IsMap {
		return binary.NativeEndian.Uint32(key)
	}
	var n uint32
	for _, b := range key {
		n = n<<8 | uint32(b)
	}
	return n
}

// parseVerdict decodes a map's element, which the nftables package leaves as
// the attributes NFTA_VERDICT_CODE and NFTA_VERDICT_CHAIN.
func parseVerdict(data []byte) (*expr.Verdict, error) {
	decoder, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return nil, err
	}
	decoder.ByteOrder = binary.BigEndian
	v := &expr.Verdict{}
	for decoder.Next() {
		switch decoder.Type() {
		case unix.NFTA_VERDICT_CODE:
			v.Kind = expr.VerdictKind(int32(decoder.Uint32()))
		case unix.NFTA_VERDICT_CHAIN:
			v.Chain = decoder.String()
		}
	}
	return v, decoder.Err()
}

func verdictText(v *expr.Verdict) string {
	names := map[expr.VerdictKind]string{
		expr.VerdictReturn: "return",
		expr.VerdictGoto:   "goto " + v.Chain,
		expr.VerdictJump:   "jump " + v.Chain,
		expr.VerdictDrop:   "drop",
		expr.VerdictAccept: "accept",
	}
	if name, ok := names[v.Kind]; ok {
		return name
	}
	return fmt.Sprintf("verdict %d", v.Kind)
}
