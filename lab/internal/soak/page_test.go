package soak

import (
	"bytes"
	"strings"
	"testing"

	"verdictd/internal/testkit"
	"verdictd/lab/internal/bench"
)

// TestPage writes the page for make pages-check to look at in a browser: a place that is clean, one that is not, and
// one whose program did not start.
func TestPage(t *testing.T) {
	r := &Result{Guard: "hold", Seed: 7, Shares: []Share{cleanShare(), cleanShare(), {Placement: "verdict3", Fanout: "balance",
		Error: "verdictd failed with exit status 78: " + strings.Repeat("a-long-path/", 20) + "verdictd.yaml"}}}
	r.Shares[1].Placement, r.Shares[1].Clashes = "forward", 3
	for i := range r.Shares {
		r.Shares[i].judge(0)
	}
	r.judge()
	var page bytes.Buffer
	if err := bench.WritePage(&page, "A soak of the guard", Page{r}, (*bench.Verdict)(&r.Verdict)); err != nil {
		t.Fatal(err)
	}
	for want, times := range map[string]int{
		"<title>A soak of the guard</title>": 1, "<span>output/cpu</span>": 3, "<span>forward/cpu</span>": 3, "<span>verdict3/balance</span>": 0,
		"120 flows, 1000 packets: clean\n": 1, "3 clashes</li>": 1, "quartiles": 0,
	} {
		if n := strings.Count(page.String(), want); n != times {
			t.Errorf("%q is there %d times, want %d:\n%s", want, n, times, page.String()[strings.Index(page.String(), "<main>"):])
		}
	}
	testkit.KeepPage(t, "soak.html", page.Bytes())
}
