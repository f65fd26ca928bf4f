package kbuild

import (
	"fmt"
	"regexp"
	"strings"
)

// What EL7Shape changes beside the missing second reading. CentOS 7 crashes where two processors meet: one has lost a
// clash, freed its entry and is about to deliver that entry's events; the other gets the same memory for a new entry,
// has zeroed it, and not yet written its namespace. The first one then follows a NULL pointer. In the kernels that
// can be built here, the delivery looks at other things first and the allocation never zeroes the namespace. So both
// are put back. That meeting is rare, so three windows are widened: before an entry is inserted, as two verdicts on
// one flow then clash more often; between a clash and the delivery, where CentOS 7 lets interrupts in; and while an
// entry has no namespace.
const widened = "udelay(200); /* WIDENED */"

// widenConfirm waits on both sides of the insertion.
func widenConfirm(source string, v Variant) (string, error) {
	if v != EL7Shape {
		return source, nil
	}
	if single.MatchString(source) {
		return "", fmt.Errorf("the insertion is the whole branch of an if: this variant is for Linux 5.19 to 6.x")
	}
	source, err := around(source, insertion, "\t\t\t"+widened+"\n", `
			if (ct != (struct nf_conn *)skb_nfct(skb))
				`+widened+"\n")
	if err != nil {
		return "", err
	}
	return includeDelay(source)
}

var allocation = regexp.MustCompile(`(?m)^\tct = kmem_cache_alloc\(nf_conntrack_cachep, gfp\);\n\tif \(ct == NULL\)\n\t\tgoto out;\n`)

// zeroAllocation takes the namespace away from a new entry for a while.
func zeroAllocation(source string, v Variant) (string, error) {
	if v != EL7Shape {
		return source, nil
	}
	source, err := around(source, allocation, "", `
	write_pnet(&ct->ct_net, NULL);
	`+widened+"\n")
	if err != nil {
		return "", err
	}
	return includeDelay(source)
}

var deliveryStart = regexp.MustCompile(`(?m)^void nf_ct_deliver_cached_events\(struct nf_conn \*ct\)\n\{\n(\t[a-z].*;\n)+`)

// deliverAsEL7 looks for a listener in the entry's namespace before anything else.
func deliverAsEL7(source string, v Variant) (string, error) {
	if v != EL7Shape {
		return source, nil
	}
	return around(source, deliveryStart, "", `
	if (!rcu_access_pointer(nf_ct_net(ct)->ct.nf_conntrack_event_cb))
		return;
`)
}

// around puts text before and behind the only place that matches.
func around(source string, place *regexp.Regexp, before, behind string) (string, error) {
	at := place.FindAllStringIndex(source, -1)
	if len(at) != 1 {
		return "", fmt.Errorf("%d places match %s, not one: this variant is for Linux 5.19 to 6.x", len(at), place)
	}
	start, end := at[0][0], at[0][1]
	return source[:start] + before + source[start:end] + behind + source[end:], nil
}

// includeDelay includes what declares udelay.
func includeDelay(source string) (string, error) {
	const first = "\n#include <"
	at := strings.Index(source, first)
	if at < 0 {
		return "", fmt.Errorf("the file includes nothing")
	}
	return source[:at] + "\n#include <linux/delay.h>" + source[at:], nil
}
