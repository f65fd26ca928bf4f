package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out)
	p.begun = p.begun.Add(-time.Minute)
	p.Step(3, 9, "the third")
	if out.Len() > 0 {
		t.Errorf("%q, and it is no terminal", out.String())
	}
	p.Say("done")
	if got, want := out.String(), "[3/9, 60 s, 4 min left] done\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.mu.Lock()
	p.lastSaid = time.Now().Add(-said)
	p.show()
	p.mu.Unlock()
	p.Takes(5 * time.Minute)
	p.Part(0, "on the way")
	p.Say("more")
	p.Note("a note")
	p.End()
	p.End()
	for _, want := range []string{"left] the third\n", "[60 s, 4 min left] more\n", "\na note\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, out.String())
		}
	}
	out.Reset()
	p = NewProgress(&out)
	p.Terminal = true
	p.Part(0.5, "%s", strings.Repeat("long ", 40))
	p.End()
	for line := range strings.SplitSeq(out.String(), clearLine) {
		if len(line) > 79 {
			t.Errorf("%d columns: %q", len(line), line)
		}
	}
	if !strings.HasSuffix(out.String(), clearLine) {
		t.Errorf("%q: the line is not taken away", out.String())
	}
}

// TestLines: what another program writes does not end in the middle of what goes on.
func TestLines(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out)
	p.Terminal = true
	p.Part(0, "on the way")
	w := p.Lines(&out)
	for _, text := range []string{"fi", "rst\nsec", "ond\n\nth"} {
		if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	p.End()
	if got, want := out.String(), clearLine+"[0 s] on the way"+clearLine+"first\n"+clearLine+"second\n\n"+clearLine; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 119 * time.Second: "119 s", 2 * time.Minute: "2 min", 89*time.Minute + 31*time.Second: "90 min", 3 * time.Hour: "3 h",
	} {
		if got := inWords(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
