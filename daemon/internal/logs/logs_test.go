package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"

	"verdictd/daemon/internal/engine"
	"verdictd/internal/packet"
	"verdictd/internal/vocabulary"
)

func TestFormats(t *testing.T) {
	for name, test := range map[string]struct {
		format    vocabulary.LogFormat
		inJournal bool
		want      string // each line
	}{
		"text":            {vocabulary.FormatText, false, `^time=\S+ level=\w+ msg="a b" error="two\\nlines" of=x in.n=1$`},
		"text in journal": {vocabulary.FormatText, true, `^<[346]>level=\w+ msg="a b" error="two\\nlines" of=x in.n=1$`},
		"JSON":            {vocabulary.FormatJSON, false, `^{"time":"[^"]+","level":"\w+","msg":"a b","error":"two\\nlines","of":"x","in":{"n":1}}$`},
		"JSON in journal": {vocabulary.FormatJSON, true, `^<[346]>{"level":"\w+","msg":"a b","error":"two\\nlines","of":"x","in":{"n":1}}$`},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			var level slog.LevelVar
			log := slog.New(newHandler(&b, test.format, &level, test.inJournal)).With("error", errors.New("two\nlines"), "of", "x").WithGroup("in")
			log.Debug("not said")
			log.Info("a b", "n", 1)
			level.Set(Level(vocabulary.LevelError))
			log.Warn("not said")
			log.Error("a b", "n", 1)
			lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
			if len(lines) != 2 {
				t.Fatalf("%d lines:\n%s", len(lines), b.String())
			}
			for i, line := range lines {
				if !regexp.MustCompile(test.want).MatchString(line) {
					t.Errorf("line %s\nwant %s", line, test.want)
				}
				if test.inJournal && !strings.HasPrefix(line, []string{"<6>", "<3>"}[i]) {
					t.Errorf("line %s has another priority", line)
				}
			}
		})
	}
}

// TestPrioritiesOfMany: lines of several goroutines have their own priorities.
func TestPrioritiesOfMany(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(newHandler(&b, vocabulary.FormatJSON, slog.LevelDebug, true))
	var group sync.WaitGroup
	for level, say := range map[string]func(string, ...any){"DEBUG": log.Debug, "INFO": log.Info, "WARN": log.Warn, "ERROR": log.With("x", 1).Error} {
		group.Go(func() {
			for range 100 {
				say(level)
			}
		})
	}
	group.Wait()
	wants := map[string]string{"<7>": "DEBUG", "<6>": "INFO", "<4>": "WARN", "<3>": "ERROR"}
	n := 0
	for line := range strings.Lines(b.String()) {
		var fields struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line[3:]), &fields); err != nil || fields.Level != wants[line[:3]] || fields.Msg != fields.Level {
			t.Fatalf("line %s: %v", line, err)
		}
		n++
	}
	if n != 400 {
		t.Errorf("%d lines", n)
	}
}

func TestLevels(t *testing.T) {
	for i, l := range vocabulary.LogLevel("").Values() {
		if want := []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}[i]; Level(vocabulary.LogLevel(l)) != want {
			t.Errorf("%s: %v", l, Level(vocabulary.LogLevel(l)))
		}
	}
}

// TestDrops: so many a second, and how many besides.
func TestDrops(t *testing.T) {
	var b bytes.Buffer
	waiting := []engine.Noted{
		{Queue: 3, Rule: "no dns", Bytes: 60, InDev: 2, Key: packet.Key{0: 4, 1: 17, 4: 192, 5: 0, 6: 2, 7: 1, 20: 198, 21: 51, 22: 100, 23: 1, 37: 53, 38: 1, 39: 0}},
		{Queue: 3, Rule: "no ping", Bytes: 84, OutDev: 4, More: 7, Key: packet.Key{0: 6, 1: 58, 4: 0x20, 5: 1, 19: 1, 20: 0x20, 21: 1, 35: 2}},
		{Queue: 4, Rule: "undecodable", Bytes: 7},
		{Queue: 4, Rule: "undecodable", Bytes: 8},
		{Queue: 4, Rule: "undecodable", Bytes: 9},
	}
	next := func() (d engine.Noted, ok bool) {
		if len(waiting) == 0 {
			return d, false
		}
		d, waiting = waiting[0], waiting[1:]
		return d, true
	}
	log := slog.New(newHandler(&b, vocabulary.FormatText, slog.LevelInfo, true))
	StartDrops(log, next, func() int { return 3 }).Stop()
	want := `<6>level=INFO msg=dropped queue=3 rule="no dns" bytes=60 in=2 protocol=udp source=192.0.2.1:53 destination=198.51.100.1:256
<6>level=INFO msg=dropped queue=3 rule="no ping" bytes=84 out=4 protocol=icmpv6 source=2001::1 destination=2001::2
<6>level=INFO msg=dropped queue=4 rule=undecodable bytes=7
<6>level=INFO msg="more packets were dropped than are logged (log.drops)" packets=9
`
	if got := b.String(); got != want {
		t.Errorf("logged\n%s\nwant\n%s", got, want)
	}
}
