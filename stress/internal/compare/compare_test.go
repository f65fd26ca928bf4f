package compare

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// side writes documents into a file and reads them.
func side(t *testing.T, documents ...string) *Side {
	t.Helper()
	path := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(path, []byte(strings.Join(documents, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// clash is a result of stress clash.
func clash(kernel string, clashes, rate int) string {
	return fmt.Sprintf(`{"schema": 1, "scenario": "clash", "started": "2026-01-01T00:00:00Z", "command": ["stress"],
		"host": {"kernel": %q, "cpus": 2}, "config": {"flows": 1000, "seed": %d, "sender_netns": "/proc/%d/fd/3"},
		"namespaces": [{"role": "sender", "path": "", "sysctls": {"net.netfilter.nf_conntrack_max": "1000"}, "rules": ["queue to 0-1"]}],
		"clash_resolve": %d, "lost": 0, "packets_per_second": %d, "latency_us": {"p50": 10, "p99": null}, "kernel_reports": [{"at": 3}]}`,
		kernel, rate, rate, clashes, rate)
}

func series(kernel string, clashes, rate int) []string {
	var out []string
	for i := range 8 {
		out = append(out, clash(kernel, clashes, rate+i))
	}
	return out
}

func compared(t *testing.T, before, after *Side) *Comparison {
	t.Helper()
	c, err := Compare(before, after, 0.05)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompare(t *testing.T) {
	c := compared(t, side(t, series("6.1", 0, 1000)...), side(t, series("6.18", 0, 900)...))
	if len(c.Cases) != 1 || c.Cases[0].Name != "clash" {
		t.Fatalf("cases %+v", c.Cases)
	}
	got := map[string]Judgement{}
	for _, f := range c.Cases[0].Changes {
		got[f.Figure] = f.Judgement
	}
	want := map[string]Judgement{"packets_per_second": Worse, "lost": Same, "clash_resolve": Same, "clashes": Same,
		"latency_us.p50": Same, "kernel_reports": Same}
	for figure, judgement := range want {
		if got[figure] != judgement {
			t.Errorf("%s: %q, want %s", figure, got[figure], judgement)
		}
	}
	if len(got) != len(want) {
		t.Errorf("figures %v, want those of %v: no configuration, no seed, no null", got, want)
	}
	if len(c.Differences) != 1 || c.Differences[0].Fact != "host.kernel" {
		t.Errorf("differences %+v, want the kernel alone", c.Differences)
	}
	for _, part := range []string{"1 worse: packets_per_second -10.0%", "of 1 tested", "The kernels differ."} {
		if !strings.Contains(c.Line, part) {
			t.Errorf("no %q in %q", part, c.Line)
		}
	}
}

func TestOutputs(t *testing.T) {
	c := compared(t, side(t, series("6.1", 0, 1000)...), side(t, series("6.18", 7, 900)...))
	c.Failures = append(c.Failures, "clashes>0: clash: 7 in one of 8 samples")
	var text, page bytes.Buffer
	if err := errors.Join(c.WriteText(&text, false), c.WriteHTML(&page)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"packets_per_second", "-10.0%", "6.1 -&gt; 6.18", "FAILED  clashes>0",
		"8 results in 1 file", "worse"} {
		if part := strings.ReplaceAll(part, "&gt;", ">"); !strings.Contains(text.String(), part) {
			t.Errorf("no %q in:\n%s", part, &text)
		}
	}
	if strings.Contains(text.String(), "\nlost") {
		t.Errorf("a figure that is always zero is shown:\n%s", &text)
	}
	for _, part := range []string{"packets_per_second", "-10.0%", "<td>6.18</td>", `class="worse"`, "clashes&gt;0"} {
		if !strings.Contains(page.String(), part) {
			t.Errorf("no %q in the page", part)
		}
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"figure":"packets_per_second"`, `"judgement":"worse"`, `"verdict":"`,
		`"fact":"host.kernel"`} {
		if !strings.Contains(string(b), part) {
			t.Errorf("no %s in %s", part, b)
		}
	}
}

func TestMatrixHasCases(t *testing.T) {
	matrix := func(clashes int) string {
		return fmt.Sprintf(`{"schema": 2, "host": {"kernel": "6.18"}, "settings": {"flows": 500}, "runs": [
			{"placement": "output", "guard": "off", "clash_resolve": %d},
			{"placement": "output", "guard": "hold", "clash_resolve": null, "insert_failed": 0},
			{"placement": "input", "guard": "off", "error": "no queue"}]}`, clashes)
	}
	c := compared(t, side(t, matrix(1500)), side(t, matrix(0)))
	if len(c.Cases) != 2 || c.Cases[0].Name != "placement=output guard=hold" ||
		c.Cases[1].Name != "placement=output guard=off" {
		t.Fatalf("%+v", c.Cases)
	}
	if len(c.Before.Skipped) != 1 || !strings.Contains(c.Before.Skipped[0], "no queue") {
		t.Errorf("skipped %q", c.Before.Skipped)
	}
	if !strings.Contains(c.Line, "too few samples") {
		t.Errorf("one sample each, and no word of it: %s", c.Line)
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	for i, document := range series("6.1", 0, 1000) {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.json", i)), []byte(document), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Read(dir)
	if err != nil || s.Documents != 8 || len(s.Files) != 8 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestWrongFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.json"):     "none.json",
		write("empty", ""):                  "it is empty",
		write("text", "hello"):              "no JSON object",
		write("list", "[1]"):                "no JSON object",
		write("other", `{"name": "other"}`): `no number "schema"`,
		t.TempDir():                         "no *.json",

		write("newer", `{"schema": 99, "scenario": "clash"}`): "result of clash with schema 99, and this program knows schema 1",
		write("weird", `{"schema": 1, "scenario": "weird"}`):  `scenario "weird" is none that can be compared: clash,`,
		write("audit", `{"schema": 1, "verdict": "unknown"}`): "no result that can be compared",
		write("old", `{"schema": 1, "runs": []}`):             "lab matrix with schema 1",
	} {
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	a := side(t, clash("6.1", 0, 1))
	b := side(t, `{"schema": 1, "scenario": "dns", "retried": 0}`)
	if _, err := Compare(a, b, 0.05); err == nil || !strings.Contains(err.Error(), "clash") ||
		!strings.Contains(err.Error(), "dns") {
		t.Errorf("%v, want an error that names both scenarios", err)
	}
	if s := side(t, strings.Replace(clash("6.1", 0, 1), `"schema": 1`, `"schema": 1, "incomplete": true`,
		1)); len(s.Skipped) != 1 || len(s.cases) != 0 {
		t.Errorf("an incomplete result counts: %+v", s)
	}
}

func TestConditions(t *testing.T) {
	before := side(t, series("6.1", 0, 1000)...)
	slower := append(series("6.1", 0, 900)[:7], clash("6.1", 2, 907))
	for text, want := range map[string]string{
		"clashes>0":                             "2 in one of 8",
		"clashes>2":                             "",
		"packets_per_second<-5%":                "-10.0%",
		"packets_per_second<-15%":               "",
		"packets_per_second>5%":                 "",
		"packets_per_second<800":                "",
		"packets_per_second<904":                "in one of 8",
		" clashes > 0 , packets_per_second<-5%": "2 in one of 8",
	} {
		conditions, err := ParseConditions(text)
		if err != nil {
			t.Fatal(err)
		}
		c := compared(t, before, side(t, slower...))
		if err := c.Fail(conditions); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got := strings.Join(c.Failures, "\n"); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestConditionsThatCannotBeChecked(t *testing.T) {
	one := side(t, clash("6.1", 0, 1000))
	for text, want := range map[string]string{
		"clashs>0":               "there are clash_resolve, clashes",
		"packets_per_second<-5%": "too few",
	} {
		conditions, err := ParseConditions(text)
		if err != nil {
			t.Fatal(err)
		}
		c := compared(t, one, side(t, clash("6.1", 0, 900)))
		if err := c.Fail(conditions); !errors.Is(err, ErrCannotTell) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"clashes":                 "before a < or >",
		">3":                      "before a < or >",
		"lost>many":               "no number",
		"lost>1,x,packets<-five%": `"x"`,
	} {
		if _, err := ParseConditions(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
