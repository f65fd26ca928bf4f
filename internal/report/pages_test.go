package report

import (
	"bytes"
	"strings"
	"testing"

	"verdictd/internal/testkit"
)

// TestPages writes a page of each kind, for make pages-check to look at in a browser.
func TestPages(t *testing.T) {
	rep := whole()
	rep.Command = []string{"lab", "matrix", "--only", "placement=output,guard=drop", "--html", "my page.html"}
	drop := &rep.Runs[4]
	drop.Lost = drop.Sent / 2
	drop.Delivered = drop.Sent - drop.Lost
	rep.Verdict = Judge(rep)
	var page bytes.Buffer
	if err := WriteHTML(&page, rep); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"500.0 lost", ">1,000</b>", ">10 ms</b>", `<th scope="col">placement`, "<caption>", `tabindex="0"`,
		"lab matrix --only placement=output,guard=drop --html &#39;my page.html&#39;",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %q in the page", want)
		}
	}
	testkit.KeepPage(t, "matrix.html", page.Bytes())
	page.Reset()
	crash := crashReport(fired(), clean(), guarded(), before())
	crash.Command = []string{"lab", "kernel", "crash"}
	if err := WriteCrashHTML(&page, crash); err != nil {
		t.Fatal(err)
	}
	testkit.KeepPage(t, "crash.html", page.Bytes())
}
