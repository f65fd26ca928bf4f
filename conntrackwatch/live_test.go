package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/cli"
	"verdictd/internal/testkit"
)

func command(ctx context.Context, args ...string) result {
	var stdout, stderr bytes.Buffer
	status := run(ctx, args, output{&stdout, &stderr})
	return result{status, stdout.String(), stderr.String()}
}

// commandUntil runs a command in the thread's namespace until what it has printed is enough.
func commandUntil(t *testing.T, enough func(stdout string) bool, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var results, remarks said
	go func() {
		for ctx.Err() == nil && !enough(results.String()) {
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
	}()
	status := run(ctx, args, output{&results, &remarks})
	return result{status, results.String(), remarks.String()}
}

// lines is enough for [commandUntil] once there are so many.
func lines(n int) func(string) bool {
	return func(text string) bool { return strings.Count(text, "\n") >= n }
}

func TestLiveLines(t *testing.T) {
	ns, other := testkit.VethPair(t)
	got := commandUntil(t, lines(3), "live", "--netns", ns.Path(), "--netns", other.Path(), "--interval", "50ms")
	if got.status != cli.Done || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if len(lines) < 3 || !strings.HasPrefix(lines[0], "time") || !strings.Contains(lines[1], ns.Path()) ||
		!strings.Contains(lines[2], other.Path()) {
		t.Fatalf("want a header and a line for each namespace:\n%s", got.stdout)
	}
	if heads, figures := strings.Fields(lines[0]), strings.Fields(lines[1]); len(figures) != len(heads) {
		t.Errorf("%d figures below %d heads:\n%s", len(figures), len(heads), got.stdout)
	}
}

func TestLiveJSON(t *testing.T) {
	testkit.Namespace(t)
	got := commandUntil(t, lines(1), "live", "--json", "--interval", "50ms")
	if got.status != cli.Done {
		t.Fatalf("%+v", got)
	}
	d := json.NewDecoder(strings.NewReader(got.stdout))
	n := 0
	for ; d.More(); n++ {
		var line struct {
			NetNS   string
			Fill    *float64
			Packets *float64 `json:"queue_packets"`
			Clashes *float64 `json:"clashes_per_second"`
			Lost    *float64 `json:"events_lost_per_second"`
		}
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if line.NetNS != "self" || line.Fill == nil || line.Packets == nil || line.Clashes == nil || line.Lost != nil {
			t.Errorf("%+v", line)
		}
	}
	if n == 0 {
		t.Errorf("no line in %q", got.stdout)
	}
}

func TestLiveWrongUsage(t *testing.T) {
	for args, want := range map[string]string{
		"live --interval 1ms":        "50ms",
		"live --duration=-1s":        "below 0",
		"live --all-netns --netns x": "leave one out",
		"live --interval 0":          "--interval",
	} {
		if got := command(t.Context(), strings.Fields(args)...); got.status != cli.Usage ||
			!strings.Contains(got.stderr, want) {
			t.Errorf("%s: %+v, want status 64 and %q", args, got, want)
		}
	}
	if got := command(t.Context(), "live", "--netns", "nosuch"); got.status != cli.Failed ||
		!strings.Contains(got.stderr, "ip netns list") {
		t.Errorf("%+v, want the cure", got)
	}
	if got := command(t.Context(), "live", "--duration", "1s", "--listen", "nowhere:x"); got.status != cli.Failed ||
		!strings.Contains(got.stderr, "--listen") {
		t.Errorf("%+v, want the flag's name", got)
	}
}

func TestAllNamespaces(t *testing.T) {
	testkit.Namespace(t)
	own := func(text string) bool { return strings.Contains(text, " self ") }
	got := commandUntil(t, own, "live", "--all-netns", "--interval", "50ms")
	if got.status != cli.Done || !own(got.stdout) {
		t.Errorf("%+v, want the own namespace at least", got)
	}
}

// Counting, listening and sampling in a namespace that the program is not in, with what a listener counts among the
// metrics.
func TestOtherNamespace(t *testing.T) {
	local, remote := testkit.VethPair(t)
	for name, tt := range map[string]struct {
		args    []string
		results string // what is printed of remote, and not of local where no flow was begun there
	}{
		"live":              {[]string{"live", "--json", "--interval", "50ms", "--events"}, `"netns":"` + remote.Path()},
		"stats":             {[]string{"stats", "--json", "--interval", "50ms"}, `"netns":"` + remote.Path()},
		"stats as a table":  {[]string{"stats", "--netns", local.Path()}, "namespace " + remote.Path()},
		"stats in rows":     {[]string{"stats", "--interval", "50ms"}, " " + remote.Path() + " "},
		"events":            {[]string{"events", "--json"}, `"udp"`},
		"events as samples": {[]string{"events", "--count", "--interval", "50ms", "--json"}, `"udp"`},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var results, remarks said
			ended := make(chan int, 1)
			go func() {
				ended <- run(ctx, append(tt.args, "--netns", remote.Path(), "--listen", "127.0.0.1:0"), output{&results, &remarks})
			}()
			url := remarks.waitFor(t, `http://\S+`)
			if strings.Contains(strings.Join(tt.args, " "), "vents") {
				// The subtest's goroutine is not in the namespace.
				if err := local.Do(func() error {
					flow, err := net.Dial("udp4", fmt.Sprintf("%s:9", testkit.RemoteIPv4.Addr()))
					if err != nil {
						return err
					}
					_, err = flow.Write([]byte("x"))
					return errors.Join(err, flow.Close())
				}); err != nil {
					t.Fatal(err)
				}
				waitForMetric(t, url, fmt.Sprintf(`conntrackwatch_events_total{netns=%q,type="new"} [1-9]`, remote.Path()))
			} else {
				waitForMetric(t, url, fmt.Sprintf(`conntrackwatch_up{netns=%q} 1`, remote.Path()))
			}
			if strings.Contains(strings.Join(tt.args, " "), "interval") {
				results.waitFor(t, regexp.QuoteMeta(tt.results))
			}
			cancel()
			if status := <-ended; status != cli.Done {
				t.Errorf("status %d: %s", status, remarks.String())
			}
			if !strings.Contains(results.String(), tt.results) {
				t.Errorf("no %q in %s", tt.results, results.String())
			}
		})
	}
}

// waitForMetric scrapes until a line matches.
func waitForMetric(t *testing.T, url, pattern string) {
	t.Helper()
	var body string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		body = scrape(t, url)
		if regexp.MustCompile(`(?m)^` + pattern).MatchString(body) {
			return
		}
	}
	t.Fatalf("no %s in\n%s", pattern, body)
}

func scrape(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", answer.Status, err)
	}
	return string(body)
}

// said is a writer that can be read while it is written.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// waitFor returns the first match, or fails after a while.
func (s *said) waitFor(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if m := re.FindString(s.String()); m != "" {
			return m
		}
	}
	t.Fatalf("no %s in %q", pattern, s.String())
	return ""
}

func TestLiveMetrics(t *testing.T) {
	ns := testkit.Namespace(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var remarks said
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"live", "--netns", ns.Path(), "--listen", "127.0.0.1:0"}, output{io.Discard, &remarks})
	}()
	url := remarks.waitFor(t, `http://\S+`)
	body, want := scrape(t, url), fmt.Sprintf(`conntrackwatch_up{netns=%q} 1`, ns.Path())
	if !strings.Contains(body, want) || !strings.Contains(body, "conntrackwatch_conntrack_insert_failed_total") {
		t.Errorf("no %s in\n%s", want, body)
	}
	cancel()
	if status := <-ended; status != cli.Done {
		t.Errorf("status %d: %s", status, remarks.String())
	}
}

// On a real terminal, q ends the view, and the terminal gets its own screen back.
func TestLiveViewOnATerminal(t *testing.T) {
	ns := testkit.Namespace(t)
	terminal, screen := pty(t)
	var drawn said
	go func() { _, _ = io.Copy(&drawn, terminal) }()
	// bubbletea reads keys from the process's standard input.
	stdin := os.Stdin
	os.Stdin = screen
	defer func() { os.Stdin = stdin }()
	ended := make(chan int, 1)
	go func() {
		ended <- run(t.Context(), []string{"live", "--netns", ns.Path(), "--interval", "50ms"}, output{screen, io.Discard})
	}()
	drawn.waitFor(t, "insert_failed/s")
	if _, err := terminal.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	select {
	case status := <-ended:
		if status != cli.Done {
			t.Errorf("status %d", status)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("q does not end it")
	}
	drawn.waitFor(t, `\x1b\[\?1049l`) // the alternate screen's end
}

// pty is a pseudo terminal: the side of a terminal emulator, and that of the program.
func pty(t *testing.T) (terminal, screen *os.File) {
	t.Helper()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	if err := unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	if err := unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 100}); err != nil {
		t.Fatal(err)
	}
	return terminal, screen
}
