package pages

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// frame shows a page as wide as a phone, which no window of the browser is.
const frame = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>a page</title>
<body style="margin:0"><iframe title="the page" style="border:0;width:%dpx;height:900px" srcdoc="%s"></iframe></body></html>`

// check runs in the page, behind axe-core, and leaves what it found in an attribute of the frame's body.
const check = `<script>
addEventListener("load", async () => {
  const result = await axe.run(document, {resultTypes: ["violations"]});
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const found = {width: innerWidth, scroll: document.documentElement.scrollWidth, dark, violations:
    result.violations.map(v => ({id: v.id, impact: v.impact, help: v.help, where: v.nodes.map(n => n.html).slice(0, 3)})),
    background: getComputedStyle(document.body).backgroundColor};
  parent.document.body.setAttribute("data-found", JSON.stringify(found));
});
</script>`

// found is what a page was like.
type found struct {
	Width, Scroll int
	Dark          bool
	Background    string
	Violations    []struct {
		ID, Impact, Help string
		Where            []string
	}
}

func TestPages(t *testing.T) {
	folder, axe := os.Getenv("VERDICTD_PAGES"), os.Getenv("VERDICTD_AXE")
	if folder == "" || axe == "" {
		t.Fatal("run it by make pages-check, which sets VERDICTD_PAGES and VERDICTD_AXE")
	}
	pages, err := filepath.Glob(filepath.Join(folder, "*.html"))
	if err != nil || len(pages) < 5 {
		t.Fatalf("pages %v, %v: want those of matrix, crash, compare, bench and soak", pages, err)
	}
	script, err := os.ReadFile(axe)
	if err != nil {
		t.Fatal(err)
	}
	backgrounds := map[bool]string{}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.Replace(text, []byte("</body>"), []byte("<script>"+string(script)+"</script>"+check+"</body>"), 1)
		for _, dark := range []bool{false, true} {
			for _, width := range []int{1000, 400} {
				name := fmt.Sprintf("%s, %d px, dark %v", filepath.Base(page), width, dark)
				framed := filepath.Join(t.TempDir(), "frame.html")
				if err := os.WriteFile(framed, fmt.Appendf(nil, frame, width, html.EscapeString(string(text))), 0o600); err != nil {
					t.Fatal(err)
				}
				f := look(t, framed, dark)
				if f.Width != width || f.Dark != dark {
					t.Fatalf("%s: the browser shows %d px, dark %v", name, f.Width, f.Dark)
				}
				if f.Scroll > width {
					t.Errorf("%s: the page is %d px wide: it scrolls sideways", name, f.Scroll)
				}
				for _, v := range f.Violations {
					if v.Impact == "serious" || v.Impact == "critical" {
						t.Errorf("%s: %s (%s): %s: %s", name, v.ID, v.Impact, v.Help, strings.Join(v.Where, " "))
					} else {
						t.Logf("%s: %s (%s): %s", name, v.ID, v.Impact, v.Help)
					}
				}
				backgrounds[dark] = f.Background
			}
		}
	}
	if backgrounds[true] == backgrounds[false] {
		t.Errorf("the background is %s in the light and in the dark", backgrounds[true])
	}
}

var attribute = regexp.MustCompile(`data-found="([^"]*)"`)

// look has a browser show a page.
func look(t *testing.T, page string, dark bool) (f found) {
	t.Helper()
	scheme := 1 // light
	if dark {
		scheme = 0
	}
	const within = 5 * time.Minute // on a machine that has other things to do
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	browser := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
		"--disable-background-networking", "--user-data-dir="+t.TempDir(), "--virtual-time-budget=20000",
		fmt.Sprintf("--blink-settings=preferredColorScheme=%d", scheme), "--window-size=1100,1000",
		"--dump-dom", "file://"+page)
	var complaints bytes.Buffer
	browser.Stderr = &complaints
	out, err := browser.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &complaints)
	}
	match := attribute.FindSubmatch(out)
	if match == nil {
		t.Fatalf("the check did not run:\n%s", &complaints)
	}
	if err := json.Unmarshal([]byte(html.UnescapeString(string(match[1]))), &f); err != nil {
		t.Fatal(err)
	}
	return f
}
