package samples

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

func open(t *testing.T, directory string, bytes int64, files int) *Sampler {
	t.Helper()
	s, err := Open(Config{Directory: directory, Bytes: bytes, Files: files, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func packetOf(n int) *nfq.Packet {
	payload := bytes.Repeat([]byte{byte(n)}, n)
	return &nfq.Packet{Queue: 3, Hook: 3, Payload: payload}
}

// read returns the lengths of a file's packets, by another's reader.
func read(t *testing.T, name string) (lengths []int) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(content), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if r.LinkType() != layers.LinkTypeRaw {
		t.Errorf("link type %v", r.LinkType())
	}
	for {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return lengths
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if age := time.Since(info.Timestamp); age < 0 || age > time.Minute || info.CaptureLength != len(data) {
			t.Errorf("%+v of %d bytes", info, len(data))
		}
		lengths = append(lengths, info.Length)
	}
}

func files(t *testing.T, directory string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(directory, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// What is taken is in a file that others read, with the rule as its comment.
func TestSamples(t *testing.T) {
	directory := t.TempDir()
	s := open(t, directory, 1<<20, 2)
	for n := range 9 {
		s.Sample("no-dns", vocabulary.Drop, packetOf(20+n))
	}
	long := packetOf(40)
	long.Payload = make([]byte, 5000)
	long.CapLen = 9000
	s.Sample(strings.Repeat("é", 3000), vocabulary.Accept, long)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names := files(t, directory)
	if len(names) != 1 || filepath.Base(names[0]) != "samples-000001.pcapng" {
		t.Fatalf("files %v", names)
	}
	lengths := read(t, names[0])
	if len(lengths) != 10 || lengths[0] != 20 || lengths[9] != 9000 {
		t.Errorf("packets of %v bytes", lengths)
	}
	content, _ := os.ReadFile(names[0])
	comment := "rule no-dns: drop (queue 3, output)"
	want := append([]byte{1, 0, byte(len(comment)), 0}, comment...)
	if n := bytes.Count(content, want); n != 9 {
		t.Errorf("%d comments, want 9", n)
	}
	if c := s.Counts(); c != (Counts{Written: 10}) {
		t.Errorf("counted %+v", c)
	}
	// Each block says its length at both ends.
	for at := 0; at < len(content); {
		n := int(binary.LittleEndian.Uint32(content[at+4:]))
		if n%4 != 0 || int(binary.LittleEndian.Uint32(content[at+n-4:])) != n {
			t.Fatalf("the block at %d is not of %d bytes", at, n)
		}
		at += n
	}
}

// Files are as long as they may, as many as there may be, and numbers go on after a restart.
func TestRotation(t *testing.T) {
	directory := t.TempDir()
	other := filepath.Join(directory, "mine.txt")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := open(t, directory, 4096, 3)
		for range 100 {
			s.Sample("a", vocabulary.Accept, packetOf(200))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if c := s.Counts(); c.Written != 100 || c.Lost != 0 {
			t.Errorf("counted %+v", c)
		}
	}
	names := files(t, directory)
	if len(names) != 4 || names[0] != other {
		t.Fatalf("files %v, want the other one and 3", names)
	}
	for _, name := range names[1:] {
		if info, err := os.Stat(name); err != nil || info.Size() > 4096+400 {
			t.Errorf("%s: %d bytes, error %v", name, info.Size(), err)
		}
		if len(read(t, name)) == 0 {
			t.Errorf("%s is empty", name)
		}
	}
}

// What does not fit waits for nobody, from many goroutines at once.
func TestOverload(t *testing.T) {
	directory := t.TempDir()
	s := open(t, directory, 64<<20, 1)
	var g sync.WaitGroup
	const each = 3000
	for range 4 {
		g.Go(func() {
			for range each {
				s.Sample("a", vocabulary.Accept, packetOf(60))
			}
		})
	}
	g.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c := s.Counts()
	if c.Written+c.Lost != 4*each || c.Written < waiting {
		t.Errorf("counted %+v of %d", c, 4*each)
	}
	if n := len(read(t, files(t, directory)[0])); n != int(c.Written) {
		t.Errorf("%d packets in the file, %d were counted", n, c.Written)
	}
}

// A file that cannot be written costs its samples only, and no file is half a block longer.
func TestUnwritable(t *testing.T) {
	if _, err := Open(Config{Directory: filepath.Join(t.TempDir(), "missing")}); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("error %v", err)
	}
	directory := t.TempDir()
	s := open(t, directory, 1<<20, 2)
	if err := s.file.to.Close(); err != nil { // as a disk that is gone
		t.Fatal(err)
	}
	s.Sample("a", vocabulary.Accept, packetOf(60))
	for until := time.Now().Add(5 * time.Second); s.Counts() == (Counts{}) && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	if c := s.Counts(); c != (Counts{Lost: 1}) {
		t.Errorf("counted %+v", c)
	}
	s.Sample("a", vocabulary.Accept, packetOf(60)) // in the pause
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if c := s.Counts(); c != (Counts{Lost: 2}) {
		t.Errorf("counted %+v in the pause", c)
	}
}
