package live

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/sets"
	"verdictd/internal/vocabulary"
)

// write puts a text into a file, in place.
func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace renames a text into a file's place.
func replace(t *testing.T, name, text string) {
	t.Helper()
	write(t, name+".new", text)
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// await waits for something.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// lines is a log.
type lines struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(b)
}

func (l *lines) count(part string) int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return strings.Count(l.text.String(), part)
}

// watch follows sets until the test ends.
func watch(t *testing.T, list ...*Set) *lines {
	t.Helper()
	l := &lines{}
	w := Watch(slog.New(slog.NewTextHandler(l, nil)), list)
	t.Cleanup(w.Stop)
	return l
}

func openNames(t *testing.T, text string) (*Set, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "names")
	write(t, file, text)
	s, err := Open(Source{Name: "blocked", Type: vocabulary.SetNames, Entries: []string{"inline.example"}, File: file})
	if err != nil {
		t.Fatal(err)
	}
	return s, file
}

func has(s *Set, name string) bool {
	_, ok := s.Names.Load().Find([]byte(name))
	return ok
}

// TestFollow: a file's content is in force soon after it has changed, in whichever way,
// and a broken one changes nothing.
func TestFollow(t *testing.T) {
	s, file := openNames(t, "one.example\n")
	if !has(s, "inline.example") || !has(s, "one.example") || has(s, "two.example") {
		t.Fatal("what was declared is not in the set")
	}
	log := watch(t, s)
	replace(t, file, "two.example\n")
	await(t, "the renamed file", func() bool { return has(s, "two.example") && !has(s, "one.example") })
	write(t, file, "three.example\n")
	await(t, "what was written in place", func() bool { return has(s, "three.example") && has(s, "inline.example") })

	loaded := s.Health()
	replace(t, file, "four.example\nhttp://five.example/\n")
	await(t, "the error", func() bool { return s.Health().Errors == 1 })
	if h := s.Health(); !has(s, "three.example") || has(s, "four.example") || h.Loaded != loaded.Loaded || h.Entries != 2 {
		t.Errorf("a broken file changed the set: %+v", h)
	}
	var problems *sets.Problems
	if err := s.Health().Error; !errors.As(err, &problems) || problems.List[0].Line != 2 {
		t.Errorf("%v; want the problem of line 2", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	await(t, "the missing file", func() bool { return s.Health().Errors == 2 })
	if !has(s, "three.example") {
		t.Error("a file that is gone emptied the set")
	}
	write(t, file, "six.example\n")
	await(t, "the file that is back", func() bool { return has(s, "six.example") })
	if h := s.Health(); h.Error != nil || h.Errors != 2 || h.Loads != 4 {
		t.Errorf("%+v", h)
	}
	time.Sleep(3 * interval)
	if n := log.count("is not read"); n != 2 {
		t.Errorf("%d errors were logged, want each once", n)
	}
}

// TestFollowsLinks: sets of a container are behind two symbolic links, of which one is
// replaced.
func TestFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	for i, text := range []string{"one.example\n", "two.example\n"} {
		if err := os.Mkdir(filepath.Join(dir, fmt.Sprint(i)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, fmt.Sprint(i), "names"), text)
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "link"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("0", "data")
	link("data/names", "names")
	s, err := Open(Source{Name: "s", Type: vocabulary.SetNames, File: filepath.Join(dir, "names")})
	if err != nil {
		t.Fatal(err)
	}
	watch(t, s)
	link("1", "data")
	await(t, "the other folder", func() bool { return has(s, "two.example") && !has(s, "one.example") })
}

// TestOpenTellsWhatIsWrong, all at once.
func TestOpenTellsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ports")
	write(t, file, "53\nmany\n")
	_, err := Open(Source{Name: "s", Type: vocabulary.SetPorts, Entries: []string{"80", "70000", "9-1"}, File: file})
	for _, part := range []string{`"70000" is no port`, `"9-1" begins above its end`, `ports:2: "many" is no port`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v: want %q in it", err, part)
		}
	}
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, pipe, filepath.Join(dir, "none")} {
		_, err := Open(Source{Name: "s", Type: vocabulary.SetPrefixes, File: name})
		var wrong *FileError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v; want an error of the file that names it", name, err)
		}
	}
	if _, err := Open(Source{Name: "s", Type: "colours"}); err == nil {
		t.Error("a set of colours was opened")
	}
}

// TestEveryType is built, and found in its own pointer.
func TestEveryType(t *testing.T) {
	for kind, entries := range map[vocabulary.SetType][]string{
		vocabulary.SetPrefixes: {"192.0.2.0/24"}, vocabulary.SetPorts: {"53"}, vocabulary.SetNames: {"example.org"}, vocabulary.SetPairs: {"192.0.2.1:53"},
	} {
		s, err := Open(Source{Name: "s", Type: kind, Entries: entries})
		if err != nil {
			t.Fatal(err)
		}
		there := map[vocabulary.SetType]bool{
			vocabulary.SetPrefixes: s.Prefixes.Load() != nil, vocabulary.SetPorts: s.Ports.Load() != nil,
			vocabulary.SetNames: s.Names.Load() != nil, vocabulary.SetPairs: s.Pairs.Load() != nil,
		}
		for other, ok := range there {
			if ok != (other == kind) {
				t.Errorf("a set of %s: %s is there: %v", kind, other, ok)
			}
		}
		if h := s.Health(); h.Entries != 1 || h.Loads != 1 || time.Since(h.Loaded) > time.Minute {
			t.Errorf("%s: %+v", kind, h)
		}
	}
}

// TestWriterThatNeverStops is told once, and what it has written is read when it does.
func TestWriterThatNeverStops(t *testing.T) {
	s, file := openNames(t, "one.example\n")
	w := &Watcher{log: slog.New(slog.DiscardHandler)}
	for i := range 2*tries + 4 {
		write(t, file, strings.Repeat("two.example\n", i+1)) // of another length each time
		w.look(s)
	}
	if h := s.Health(); h.Errors == 0 || h.Errors > 2 || !errors.Is(h.Error, errWritten) || has(s, "two.example") {
		t.Errorf("%+v", h)
	}
	write(t, file, "three.example\n")
	w.look(s)
	w.look(s)
	if !has(s, "three.example") || s.Health().Error != nil {
		t.Errorf("%+v", s.Health())
	}
}
