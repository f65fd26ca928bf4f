package compare

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verdictd/internal/testkit"
)

// TestKindsAreThoseOfTheSchemas: what can be compared is what the programs write now.
func TestKindsAreThoseOfTheSchemas(t *testing.T) {
	for _, k := range kinds {
		lab, ok := strings.CutPrefix(k.name, "lab ")
		if !ok {
			continue // of this program
		}
		text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "schema", "lab-"+lab+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var schema struct {
			Properties map[string]struct{ Const any }
		}
		if err := json.Unmarshal(text, &schema); err != nil {
			t.Fatal(err)
		}
		if got := schema.Properties["schema"].Const; got != float64(k.schema) {
			t.Errorf("%s: docs/schema has %v, want %d", k.name, got, k.schema)
		}
		if _, ok := schema.Properties[k.list]; k.list != "" && !ok {
			t.Errorf("%s has no %s", k.name, k.list)
		}
	}
}

func TestNumbersArePlain(t *testing.T) {
	for v, want := range map[float64]string{
		34820: "34820", 92283.6: "92284", 1375.04: "1375", 410.92: "410.9", 0.195: "0.1950", 0.00000012: "0.000000", 12.5: "12.50", -3: "-3",
	} {
		if got := plain(v); got != want {
			t.Errorf("%g: %s, want %s", v, got, want)
		}
	}
	for figure, want := range map[string]string{
		"latency_us.p50": " us", "seconds": " s", "packets_per_second": "/s", "cpu_us_per_packet": " us", "clashes": "",
		"packets_per_second_per_core": "/s", "resolution_ms.p99": " ms", "rss_kib.max": " KiB",
	} {
		if got := unit(figure); got != want {
			t.Errorf("%s: %q, want %q", figure, got, want)
		}
	}
}

// TestIntervalEndsAtNothing: what is counted cannot fall by more than all of it.
func TestIntervalEndsAtNothing(t *testing.T) {
	before := []float64{1, 2, 100, 3, 4, 90, 5, 6}
	after := []float64{0, 0, 0, 0, 0, 0, 0, 1}
	c := newChange("lost", before, after, 0.05)
	if c.Low == nil || *c.Low < -*c.Before {
		t.Fatalf("%+v", c)
	}
	if !strings.HasPrefix(c.Interval(), "-100.0% to ") {
		t.Error(c.Interval())
	}
	chart := c.Chart()
	if chart == nil || chart.Low != 0 || chart.At < chart.Low || chart.High < chart.At || chart.High > 100 {
		t.Errorf("%+v", chart)
	}
}

// TestNothingIsSaidTwice: a figure that only repeats another one is shown with --all alone.
func TestNothingIsSaidTwice(t *testing.T) {
	c := compared(t, side(t, series("6.1", 10, 1000)...), side(t, series("6.1", 7, 900)...))
	for _, all := range []bool{false, true} {
		var text bytes.Buffer
		if err := c.WriteText(&text, all); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text.String(), "clash_resolve") != all || !strings.Contains(text.String(), " clashes ") {
			t.Errorf("all %v:\n%s", all, &text)
		}
	}
}

// TestOrigins: both sides say when, where and by what they were made.
func TestOrigins(t *testing.T) {
	c := compared(t, side(t, series("6.1", 0, 1000)...), side(t, series("6.18", 0, 900)...))
	var text, page bytes.Buffer
	if err := c.WriteText(&text, false); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2026-01-01, Linux 6.1, stress", "2026-01-01, Linux 6.18, stress"} {
		if strings.Count(text.String(), want) != 1 || !strings.Contains(page.String(), want) {
			t.Errorf("no %q once in:\n%s", want, &text)
		}
	}
	if !strings.Contains(page.String(), `class="change"`) {
		t.Error("no chart in the page")
	}
	testkit.KeepPage(t, "compare.html", page.Bytes())
}
