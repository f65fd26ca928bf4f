package kbuild

import (
	"strings"
	"testing"
)

// confirm is a header around the function that edits are about; body is what it does between its braces.
func confirm(body string) string {
	return "int other(void);\n\nstatic inline int nf_conntrack_confirm(struct sk_buff *skb)\n{\n" + body +
		"\n\treturn ret;\n}\n\nint behind(void);\n"
}

const declarations = `	struct nf_conn *ct = (struct nf_conn *)skb_nfct(skb);
	int ret = NF_ACCEPT;
`

// The forms that kernels have had.
var (
	// 4.7 to 5.18.
	old = confirm(declarations + `
	if (ct) {
		if (!nf_ct_is_confirmed(ct))
			ret = __nf_conntrack_confirm(skb);
		if (likely(ret == NF_ACCEPT))
			nf_ct_deliver_cached_events(ct);
	}`)
	// The fix in stable kernels.
	backported = confirm(declarations + `
	if (ct) {
		if (!nf_ct_is_confirmed(ct)) {
			ret = __nf_conntrack_confirm(skb);

			if (ret == NF_ACCEPT)
				ct = (struct nf_conn *)skb_nfct(skb);
		}
		if (likely(ret == NF_ACCEPT))
			nf_ct_deliver_cached_events(ct);
	}`)
	// 5.19 and later.
	recent = confirm(declarations + `
	if (ct) {
		if (!nf_ct_is_confirmed(ct)) {
			ret = __nf_conntrack_confirm(skb);

			if (ret == NF_ACCEPT)
				ct = (struct nf_conn *)skb_nfct(skb);
		}

		if (ret == NF_ACCEPT && nf_ct_ecache_exist(ct))
			nf_ct_deliver_cached_events(ct);
	}`)
	withoutRefetch = strings.NewReplacer(`
			if (ret == NF_ACCEPT)
				ct = (struct nf_conn *)skb_nfct(skb);
`, "")
)

func TestConfirmWithAndWithoutTheFix(t *testing.T) {
	recentVulnerable := withoutRefetch.Replace(recent)
	if recentVulnerable == recent {
		t.Fatal("the test's own replacement does nothing")
	}
	for _, test := range []struct {
		name, from string
		to         Variant
		want       string
	}{
		{"recent, as it is", recent, Fixed, recent},
		{"recent, fix taken out", recent, Vulnerable, recentVulnerable},
		{"recent without the fix, put in", recentVulnerable, Fixed, recent},
		{"recent without the fix, as it is", recentVulnerable, Vulnerable, recentVulnerable},
		{"backported, as it is", backported, Fixed, backported},
		{"backported, fix taken out", backported, Vulnerable, withoutRefetch.Replace(backported)},
		{"old, fix put in", old, Fixed, backported},
		{"old, as it is", old, Vulnerable, old},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := editConfirm(test.from, test.to)
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestConfirmInOtherWordsIsRefused(t *testing.T) {
	for _, test := range []struct{ name, from, problem string }{
		{"no such function", "int main(void);\n", "is there 0 times"},
		{"twice", recent + recent, "is there 2 times"},
		{"no end", strings.Split(recent, "return")[0], "has no end"},
		{"no insertion", strings.ReplaceAll(recent, "ret = __nf_conntrack_confirm(skb);", "ret = insert(skb);"),
			"in 0 lines"},
		{"no delivery", strings.ReplaceAll(recent, "nf_ct_deliver_cached_events(ct);", "deliver(ct);"),
			"the fault is not in this source"},
		{
			"read again elsewhere", strings.ReplaceAll(withoutRefetch.Replace(recent), "\t\tif (ret == NF_ACCEPT &&",
				"\t\tct = nf_ct_get(skb, &ctinfo);\n\t\tif (ret == NF_ACCEPT &&"),
			"not in the lines that are known",
		},
		{
			"read again twice", strings.ReplaceAll(recent, "\t\tif (ret == NF_ACCEPT &&",
				"\t\tct = (struct nf_conn *)skb_nfct(skb);\n\t\tif (ret == NF_ACCEPT &&"),
			"not in the lines that are known",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, v := range []Variant{Fixed, Vulnerable} {
				if got, err := editConfirm(test.from, v); err == nil || !strings.Contains(err.Error(), test.problem) {
					t.Errorf("%s: got %v and error %v, want one with %q", v, got, err, test.problem)
				}
			}
		})
	}
	// Before 4.12 packets had their entry in a field; what the fix reads is not there.
	ancient := strings.ReplaceAll(old, "skb_nfct(skb)", "skb->nfct")
	if _, err := editConfirm(ancient, Fixed); err == nil || !strings.Contains(err.Error(), "too old") {
		t.Errorf("error %v for a source without skb_nfct", err)
	}
	if got, err := editConfirm(ancient, Vulnerable); err != nil || got != ancient {
		t.Errorf("got %v and error %v for a source that is vulnerable already", got, err)
	}
}

const (
	allocating = `/* comment */
#include <linux/types.h>

struct nf_conn *alloc(void)
{
	ct = kmem_cache_alloc(nf_conntrack_cachep, gfp);
	if (ct == NULL)
		goto out;

	write_pnet(&ct->ct_net, net);
}
`
	delivering = `void nf_ct_deliver_cached_events(struct nf_conn *ct)
{
	struct nf_conntrack_ecache *e;
	unsigned int events;

	if (!nf_ct_is_confirmed(ct) || nf_ct_is_dying(ct))
		return;
}
`
)

func TestEL7Shape(t *testing.T) {
	header := "#ifndef X\n#include <linux/netfilter.h>\n" + recent
	for _, test := range []struct {
		name  string
		apply func(string, Variant) (string, error)
		from  string
		parts []string // in this order
	}{
		{"confirm", widenConfirm, header, []string{"#include <linux/delay.h>", widened,
			"ret = __nf_conntrack_confirm(skb);", "if (ct != (struct nf_conn *)skb_nfct(skb))", widened,
			"nf_ct_deliver_cached_events"}},
		{"allocation", zeroAllocation, allocating,
			[]string{"#include <linux/delay.h>", "goto out;", "write_pnet(&ct->ct_net, NULL);", widened,
				"write_pnet(&ct->ct_net, net);"}},
		{"delivery", deliverAsEL7, delivering,
			[]string{"unsigned int events;", "nf_ct_net(ct)->ct.nf_conntrack_event_cb", "nf_ct_is_confirmed"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, v := range []Variant{Fixed, Vulnerable} {
				if got, err := test.apply(test.from, v); err != nil || got != test.from {
					t.Errorf("%s: changed to %q, %v", v, got, err)
				}
			}
			got, err := test.apply(test.from, EL7Shape)
			if err != nil {
				t.Fatal(err)
			}
			rest := got
			for _, part := range test.parts {
				_, after, ok := strings.Cut(rest, part)
				if !ok {
					t.Fatalf("%q is not there, or not in its place:\n%s", part, got)
				}
				rest = after
			}
			if _, err := test.apply(strings.ToUpper(test.from), EL7Shape); err == nil {
				t.Error("a source in other words is not refused")
			}
		})
	}
	// Where the insertion has no braces, what is put beside it would stand outside of its branch.
	if got, err := widenConfirm(strings.ReplaceAll(header, recent, old), EL7Shape); err == nil {
		t.Errorf("a source before 5.19 became\n%s", got)
	}
}
