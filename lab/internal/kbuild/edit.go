package kbuild

import (
	"fmt"
	"regexp"
	"strings"
)

// A Variant is a kernel in one of its forms.
type Variant string

// The variants.
const (
	// Fixed reads the entry again after its insertion, as 56b14ecec97f does.
	Fixed Variant = "fixed"
	// Vulnerable delivers the events of the entry that lost a clash and is freed: CVE-2022-49561.
	Vulnerable Variant = "vulnerable"
	// EL7Shape is the vulnerable kernel with the older order of delivery and allocation that CentOS 7 has, and with
	// the windows of its race widened by delays, so that the crash comes in seconds. It proves the way, not the odds.
	EL7Shape Variant = "el7-shape"
)

// Variants are all of them.
func Variants() []Variant { return []Variant{Fixed, Vulnerable, EL7Shape} }

// recipe is part of every image's key. It grows when edits or the way of building change.
const recipe = "2"

// An edit changes one file of the source. It is given the file as it was unpacked.
type edit struct {
	file  string
	apply func(source string, v Variant) (string, error)
}

// edits are all that any variant does.
var edits = []edit{
	{"include/net/netfilter/nf_conntrack_core.h", editConfirm},
	{"include/net/netfilter/nf_conntrack_core.h", widenConfirm},
	{"net/netfilter/nf_conntrack_core.c", zeroAllocation},
	{"net/netfilter/nf_conntrack_ecache.c", deliverAsEL7},
}

// The parts of nf_conntrack_confirm that matter, in every form that they had since 4.7. Between the insertion and the
// delivery the fix, which came with 5.19, reads the entry again, as the packet may carry another one by then.
var (
	confirmStart = regexp.MustCompile(`(?m)^static inline int nf_conntrack_confirm\(struct sk_buff \*skb\)\n\{\n`)
	confirmEnd   = "\n}\n"

	insertion = regexp.MustCompile(`(?m)^(\t+)ret = __nf_conntrack_confirm\(skb\);\n`)
	refetch   = regexp.MustCompile(`(?m)^\n?\t+if \(ret == NF_ACCEPT\)\n\t+ct = \(struct nf_conn \*\)skb_nfct\(skb\);\n`)
	delivery  = regexp.MustCompile(`nf_ct_deliver_cached_events\(ct\);`)
	// Any reading of the entry from the packet but the first: a fix in words that refetch does not know.
	anyFetch = regexp.MustCompile(`\bct = .*(skb_nfct|nf_ct_get|skb->_?nfct)`)
	single   = regexp.MustCompile(`(?m)^\t+if \(!nf_ct_is_confirmed\(ct\)\)\n\t+ret = __nf_conntrack_confirm\(skb\);\n`)
)

// editConfirm puts the second reading in or takes it out.
func editConfirm(source string, v Variant) (string, error) {
	const function = "nf_conntrack_confirm"
	at := confirmStart.FindAllStringIndex(source, -1)
	if len(at) != 1 {
		return "", fmt.Errorf("%s(struct sk_buff *skb) is there %d times, not once", function, len(at))
	}
	start := at[0][1]
	length := strings.Index(source[start:], confirmEnd)
	if length < 0 {
		return "", fmt.Errorf("%s has no end", function)
	}
	body := source[start : start+length+1]

	inserted := insertion.FindAllStringSubmatchIndex(body, -1)
	if len(inserted) != 1 {
		return "", fmt.Errorf("%s calls __nf_conntrack_confirm(skb) in %d lines that are known, not in one", function,
			len(inserted))
	}
	before, after := body[:inserted[0][1]], body[inserted[0][1]:]
	if !delivery.MatchString(after) {
		return "", fmt.Errorf("%s does not deliver events after the insertion: the fault is not in this source",
			function)
	}
	has := refetch.FindStringIndex(after)
	switch {
	case has != nil && has[0] != 0, has == nil && anyFetch.MatchString(after), has != nil &&
		anyFetch.MatchString(after[has[1]:]):
		return "", fmt.Errorf("%s reads the entry again after the insertion, but not in the lines that are known",
			function)
	case v == Fixed && has == nil && !strings.Contains(body, "skb_nfct(skb)"):
		return "", fmt.Errorf("%s does not read the entry by skb_nfct(skb): this source is too old for the fix",
			function)
	case v == Fixed && has == nil:
		var err error
		if before, err = addRefetch(body, before); err != nil {
			return "", err
		}
	case v != Fixed && has != nil:
		after = after[has[1]:]
	}
	return source[:start] + before + after + source[start+len(body):], nil
}

// addRefetch is what ends in the insertion, with the second reading behind it. The statement is the whole branch of
// an if where nothing stood behind it: it gets braces then.
func addRefetch(body, before string) (string, error) {
	const again = "if (ret == NF_ACCEPT)\n"
	indent := insertion.FindStringSubmatch(before)[1]
	reading := indent + again + indent + "\tct = (struct nf_conn *)skb_nfct(skb);\n"
	branch := single.FindStringIndex(body)
	if branch == nil {
		return before + "\n" + reading, nil
	}
	if branch[1] != len(before) {
		return "", fmt.Errorf("nf_conntrack_confirm inserts in lines that are not known")
	}
	head := strings.Replace(before[branch[0]:], "(!nf_ct_is_confirmed(ct))\n", "(!nf_ct_is_confirmed(ct)) {\n", 1)
	return before[:branch[0]] + head + "\n" + reading + indent[1:] + "}\n", nil
}
