package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"verdictd/internal/testkit"
)

// shown is a document with a chart of each kind.
type shown struct{ err error }

func (s shown) WriteText(w io.Writer) error {
	if s.err != nil {
		return s.err
	}
	_, err := fmt.Fprintf(w, "figures <of> %s\n", strings.Repeat("a very long line ", 20))
	return err
}

func (shown) Charts() ([]Bars, []Plot) {
	return []Bars{{Title: "Cost of a packet", Unit: "microseconds", Bars: []Bar{
			{"floor", 1.6, 1.5, 1.7}, {"mmsg+hold+metrics", 2, 1.9, 2.4}, {"gonfqueue, one CPU", 1234.5, 1234.5, 1234.5},
		}}}, []Plot{{Title: "Cost by rules", Unit: "microseconds", Across: "rules that no packet matches", Points: []PlotPoint{
			{0, 2, 1.9, 2.1}, {10, 2.05, 2, 2.2}, {1_000_000, 3.2, 3, 3.3},
		}}}
}

// TestPage writes the page for make pages-check to look at in a browser.
func TestPage(t *testing.T) {
	var page bytes.Buffer
	v := &Verdict{Line: "Not as it should be, in 1 ways.", Failures: []string{"mmsg / floor is 1.25, more than 1.1"}}
	if err := WritePage(&page, "What a packet costs", shown{}, v); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"<title>What a packet costs</title>", "mmsg / floor is 1.25", "figures &lt;of&gt;", `style="width:0.2%"`, "1,235</span>",
		`aria-label="Cost by rules: 0: 2.00; 10: 2.05; 1,000,000: 3.20; "`, `points="70.0,`, ">1,000,000</text>",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %q in the page:\n%s", want, page.String()[strings.Index(page.String(), "<main>"):])
		}
	}
	testkit.KeepPage(t, "bench.html", page.Bytes())
	broken := errors.New("no room")
	if err := WritePage(&page, "x", shown{broken}, v); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// TestPlot: the scale ends above all points, and a chart of nothing divides by nothing.
func TestPlot(t *testing.T) {
	p := Plot{Points: []PlotPoint{{1, 2, 2, 3.3}}}
	if most := p.most(); most != 3.5 {
		t.Errorf("the scale ends at %v, want 3.5", most)
	}
	if at := p.Placed()[0]; at.Y <= at.High {
		t.Errorf("the median is drawn above its upper quartile: %+v", at)
	}
	if lines := (Plot{}).Lines(); len(lines) != gridLines+1 || lines[0].At != "205.0" {
		t.Errorf("an empty plot: %v", lines)
	}
	if at := (Bars{}).Percent(1); at != "0" {
		t.Errorf("a bar of nothing: %s", at)
	}
}
