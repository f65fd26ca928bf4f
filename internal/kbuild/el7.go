package kbuild

import (
	"fmt"
	"regexp"
	"strings"
)

// What EL7Shape changes beside the missing second reading. CentOS 7 crashes where two processors meet: one has lost a
// clash, freed its entry and is about to deliver that entry's events; the other gets the same memory for a new entry, has
// zeroed it, and not yet written its namespace. The first one then follows a NULL pointer. In the kernels that can be
// built here, the delivery looks at other things first and the allocation never zeroes the namespace. So both are put
// back, and both windows are widened, as that meeting is rare.

// widenConfirm waits between a clash and the delivery, where CentOS 7 lets interrupts in.
func widenConfirm(source string, v Variant) (string, error) {
	if v != EL7Shape {
		return source, nil
	}
	source, err := insert(source, insertion, `
			if (ct != (struct nf_conn *)skb_nfct(skb))
				udelay(200); /* WIDENED */
`)
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
	source, err := insert(source, allocation, `
	write_pnet(&ct->ct_net, NULL);
	udelay(20); /* WIDENED */
`)
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
	return insert(source, deliveryStart, `
	if (!rcu_access_pointer(nf_ct_net(ct)->ct.nf_conntrack_event_cb))
		return;
`)
}

// insert puts text behind the only place that matches.
func insert(source string, behind *regexp.Regexp, text string) (string, error) {
	at := behind.FindAllStringIndex(source, -1)
	if len(at) != 1 {
		return "", fmt.Errorf("%d places match %s, not one: this variant is for Linux 5.19 to 6.x", len(at), behind)
	}
	end := at[0][1]
	return source[:end] + text + source[end:], nil
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
