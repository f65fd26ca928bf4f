package ruleset

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
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
	anonymous := map[string]string{} // what is written in the rule that has one
	for _, s := range sets {
		elements, err := conn.GetSetElements(s)
		if err != nil {
			return "", fmt.Errorf("list the elements of set %s: %w", s.Name, err)
		}
		text, err := setText(s, elements)
		if err != nil {
			return "", err
		}
		if s.Anonymous {
			_, elements, _ := strings.Cut(text, s.Name+" ")
			anonymous["@"+s.Name] = elements
			continue
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
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %d\n", c.Type, vocabulary.HookAt(uint32(*c.Hooknum)), *c.Priority)
		}
		for _, r := range rules {
			text := anonymousSet.ReplaceAllStringFunc(ruleText(r), func(name string) string { return cmp.Or(anonymous[name], name) })
			fmt.Fprintf(&b, "\t\t%s\n", text)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String(), nil
}

var anonymousSet = regexp.MustCompile(`@__set\d+`)

// setText renders a set or verdict map in the order of its keys.
func setText(s *nftables.Set, elements []nftables.SetElement) (string, error) {
	slices.SortFunc(elements, func(a, b nftables.SetElement) int {
		return cmp.Or(compareKeys(s, a.Key, b.Key), boolean(a.IntervalEnd)-boolean(b.IntervalEnd))
	})
	var texts []string
	for i := 0; i < len(elements); i++ {
		e := elements[i]
		if s.Interval {
			if e.IntervalEnd {
				continue // of the kernel's own, before the first
			}
			last := uint32(vocabulary.MaxQueue) // the end of an interval up to the last port is not written
			if i+1 < len(elements) {
				last = keyNumber(s, elements[i+1].Key) - 1
				i++
			}
			texts = append(texts, rangeText(keyNumber(s, e.Key), last))
			continue
		}
		text := keyText(s, e.Key)
		if s.IsMap {
			v, err := parseVerdict(e.Val)
			if err != nil {
				return "", fmt.Errorf("decode map %s: %w", s.Name, err)
			}
			text += " : " + verdictText(v)
		}
		if e.Expires != 0 {
			text += fmt.Sprintf(" expires %v", e.Expires)
		}
		texts = append(texts, text)
	}
	kind := "set"
	if s.IsMap {
		kind = "map"
	}
	bounds := ""
	if s.HasTimeout {
		bounds = fmt.Sprintf("size %d timeout %v ", s.Size, s.Timeout)
	}
	return fmt.Sprintf("%s %s { %s%s }", kind, s.Name, bounds, strings.Join(texts, ", ")), nil
}

func rangeText(first, last uint32) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

func compareKeys(s *nftables.Set, a, b []byte) int {
	if s.IsMap {
		return cmp.Compare(keyNumber(s, a), keyNumber(s, b))
	}
	return bytes.Compare(a, b)
}

// keyText renders a number, or the addresses and ports of a settled set.
func keyText(s *nftables.Set, key []byte) string {
	for _, f := range families {
		if half := int(f.length / 2); s.KeyType.Name == f.keyType().Name && len(key) == 2*half+8 {
			source, _ := netip.AddrFromSlice(key[:half])
			destination, _ := netip.AddrFromSlice(key[half : 2*half])
			ports := key[2*half:]
			return fmt.Sprintf("%v . %v . %d . %d", source, destination, binary.BigEndian.Uint16(ports), binary.BigEndian.Uint16(ports[4:]))
		}
	}
	return fmt.Sprint(keyNumber(s, key))
}

// keyNumber decodes a number: ports and protocols are as in packets, the numbers
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
