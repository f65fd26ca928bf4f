package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verdictd/internal/cli"
	"verdictd/internal/testkit"
)

// measured is a file of several results of a short run.
func measured(t *testing.T, samples int) string {
	t.Helper()
	ns := testkit.Namespace(t)
	var all bytes.Buffer
	for range samples {
		got := stress(within(ns, "--json", "-")...)
		if got.status != cli.Done {
			t.Fatalf("%+v", got)
		}
		all.WriteString(got.stdout)
	}
	path := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(path, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// planted is a copy of the results with one figure changed.
func planted(t *testing.T, path, figure string, change func(float64) float64) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for d := json.NewDecoder(bytes.NewReader(b)); d.More(); {
		var document map[string]any
		if err := d.Decode(&document); err != nil {
			t.Fatal(err)
		}
		document[figure] = change(document[figure].(float64))
		if err := json.NewEncoder(&out).Encode(document); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(t.TempDir(), "planted.json")
	if err := os.WriteFile(to, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestCompareResultFiles(t *testing.T) {
	before := measured(t, 5)
	loss := planted(t, before, "lost", func(v float64) float64 { return v + 3 })
	html, document := filepath.Join(t.TempDir(), "page.html"), filepath.Join(t.TempDir(), "comparison.json")
	for name, tt := range map[string]struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		"nothing changed": {[]string{before, before, "--fail-on", "lost>0,packets_per_second<-5%"}, cli.Done,
			"No figure changed", ""},
		"lost": {[]string{before, loss, "--fail-on", "lost>0"}, cli.Failed, "worse: lost",
			"lost>0: clash: 3 in one of 5 samples"},
		"lost, not watched": {[]string{before, loss, "--html", html, "--json", document}, cli.Done, "worse: lost", ""},
		"two to compare":    {[]string{before, before, loss}, cli.Done, "worse: lost", ""},
		"JSON alone":        {[]string{before, loss, "--json", "-"}, cli.Done, `"judgement": "worse"`, ""},
		"no such figure":    {[]string{before, loss, "--fail-on", "losses>0"}, cli.Usage, "", "no result has losses"},
		"no such file":      {[]string{before, "none.json"}, cli.Usage, "", "none.json"},
		"two wrong things":  {[]string{before, loss, "--alpha", "2", "--fail-on", "lost"}, cli.Usage, "", "alpha 2"},
		"a page of two":     {[]string{before, loss, loss, "--html", html}, cli.Usage, "", "a page has one comparison"},
		"nothing after":     {[]string{before}, cli.Usage, "", "after"},
	} {
		got := stress(append([]string{"compare"}, tt.args...)...)
		if got.status != tt.status || !strings.Contains(got.stdout, tt.stdout) || !strings.Contains(got.stderr, tt.stderr) ||
			tt.stderr == "" && got.stderr != "" {
			t.Errorf("%s: %+v, want status %d, %q, %q", name, got, tt.status, tt.stdout, tt.stderr)
		}
	}
	for path, want := range map[string]string{html: "</html>", document: `"verdict": "`} {
		if b, err := os.ReadFile(path); err != nil || !bytes.Contains(b, []byte(want)) {
			t.Errorf("%s: %v, no %s", filepath.Base(path), err, fmt.Sprintf("%q", want))
		}
	}
	got := stress("compare", before, loss, "--json", "-")
	checkSchema(t, "compare", []byte(got.stdout))
}
