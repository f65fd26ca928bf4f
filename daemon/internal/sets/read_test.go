package sets

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func zipped(t testing.TB, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const list = "\ufeff# a list\n\nexample.org # with a remark\r\n\t  *.example.net  \n#x\nexample.org\nlast.example"

func TestRead(t *testing.T) {
	for name, in := range map[string]io.Reader{
		"plain":        strings.NewReader(list),
		"byte by byte": iotest.OneByteReader(strings.NewReader(list)),
		"gzip":         bytes.NewReader(zipped(t, list)),
		"two of gzip":  bytes.NewReader(append(zipped(t, list[:40]), zipped(t, list[40:])...)),
	} {
		b := NewNames()
		if err := Read(b, "list", in, Limits{}); err != nil || b.Len() != 3 {
			t.Errorf("%s: %d names, %v", name, b.Len(), err)
		}
		s := b.Build(time.Time{})
		for _, name := range []string{"example.org", "x.example.net", "last.example"} {
			if _, ok := s.Find([]byte(name)); !ok {
				t.Errorf("%s is not there", name)
			}
		}
	}
	if err := Read(NewNames(), "empty", strings.NewReader(""), Limits{}); err != nil {
		t.Errorf("an empty text: %v", err)
	}
}

// TestEveryWrongLine: all are counted, the first 100 are told, and what is right around
// them is read.
func TestEveryWrongLine(t *testing.T) {
	text := "example.org\n.example.net\n" + strings.Repeat("x", 100_000) + "\nexample.com\n" + strings.Repeat("a b\n", 200) + "example.net"
	b := NewNames()
	err := Read(b, "list", strings.NewReader(text), Limits{})
	var problems *Problems
	if !errors.As(err, &problems) || problems.Count != 202 || len(problems.List) != maxProblems || b.Len() != 3 {
		t.Fatalf("%d names, %v", b.Len(), err)
	}
	for i, want := range []string{
		`list:2: ".example.net" has a leading dot: write example.net, which covers it and all names below, or *.example.net for those alone`,
		`list:3: "` + strings.Repeat("x", maxExcerpt) + `" is a line of more than 1024 bytes`,
		`list:5: "a b" has a space in it: write one name a line`,
	} {
		if got := strings.Split(err.Error(), "\n")[i]; got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	if !strings.HasSuffix(err.Error(), "\nlist: 102 more") {
		t.Errorf("the end is %s", err.Error()[len(err.Error())-40:])
	}
}

func TestBoundsOfTexts(t *testing.T) {
	broken := zipped(t, strings.Repeat("example.org\n", 1000))
	for name, test := range map[string]struct {
		in   io.Reader
		l    Limits
		want error
	}{
		"entries":           {strings.NewReader("a\nb\nc\n"), Limits{Entries: 2}, ErrTooMany},
		"bytes":             {strings.NewReader("a\nb\nc\n"), Limits{Bytes: 5}, ErrTooMany},
		"just enough":       {strings.NewReader("a\nb\nc\n"), Limits{Entries: 3, Bytes: 6}, nil},
		"bytes after gzip":  {bytes.NewReader(zipped(t, strings.Repeat(" ", 1<<20))), Limits{Bytes: 1000}, ErrTooMany},
		"one endless line":  {strings.NewReader(strings.Repeat("x", 1<<20)), Limits{Bytes: 1 << 19}, ErrTooMany},
		"cut gzip":          {bytes.NewReader(broken[:len(broken)-9]), Limits{}, io.ErrUnexpectedEOF},
		"wrong sum of gzip": {bytes.NewReader(append(broken[:len(broken)-5:len(broken)-5], 1, 2, 3, 4, 5)), Limits{}, gzip.ErrChecksum},
		"no gzip":           {bytes.NewReader([]byte{0x1f, 0x8b, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9}), Limits{}, gzip.ErrHeader},
		"a disk's error":    {iotest.ErrReader(io.ErrClosedPipe), Limits{}, io.ErrClosedPipe},
	} {
		if err := Read(NewNames(), "list", test.in, test.l); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestComments(t *testing.T) {
	for line, want := range map[string]string{
		"": "", "#": "", " # a": "", "a": "a", "a # b": "a", "a\t#b": "a", "a#b": "a#b", "a#b #c": "a#b", "a##": "a##", " a b ": "a b",
	} {
		if got := string(content([]byte(line))); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestPrefixes(t *testing.T) {
	b := NewPrefixes()
	if err := Read(b, "list", strings.NewReader("192.0.2.0/24\n198.51.100.7\n2001:db8::/32\n192.0.2.0/24\n2001:db8:1::1\n"), Limits{}); err != nil {
		t.Fatal(err)
	}
	s := b.Build(time.Unix(1, 0))
	if s.Entries != 4 {
		t.Errorf("%+v", s.Info)
	}
	for address, want := range map[string]bool{
		"192.0.2.9": true, "192.0.3.9": false, "198.51.100.7": true, "198.51.100.8": false, "2001:db8::1": true, "2001:db9::1": false, "::ffff:192.0.2.9": false,
	} {
		if s.Contains(netip.MustParseAddr(address)) != want {
			t.Errorf("%s: want %v", address, want)
		}
	}
	for entry, want := range map[string]string{
		"192.0.2.1/24":     "write 192.0.2.0/24 or 192.0.2.1/32",
		"192.0.2.0/33":     "is no prefix",
		"192.0.2.0-9":      "is no prefix",
		"example.org":      "is no prefix",
		"fe80::1%eth0":     "has a zone",
		"::ffff:192.0.2.1": "write it as IPv4",
	} {
		if err := NewPrefixes().Add([]byte(entry)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ... %s", entry, err, want)
		}
	}
}

func TestPorts(t *testing.T) {
	b := NewPorts()
	if err := Read(b, "list", strings.NewReader("53\n1000-1002\n65535\n0\n"), Limits{}); err != nil {
		t.Fatal(err)
	}
	s := b.Build(time.Unix(1, 0))
	var got []uint16
	for port := range 1 << 16 {
		if s.Contains(uint16(port)) {
			got = append(got, uint16(port))
		}
	}
	if len(got) != 6 || got[0] != 0 || got[1] != 53 || got[4] != 1002 || got[5] != 65535 || s.Entries != 4 {
		t.Errorf("%v, %+v", got, s.Info)
	}
	for entry, want := range map[string]string{"65536": "is no port", "http": "is no port", "2-1": "write 1-2", "-": "is no port", "1-": "is no port", "+1": "is no port"} {
		if err := NewPorts().Add([]byte(entry)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ... %s", entry, err, want)
		}
	}
}

func TestPairs(t *testing.T) {
	b := NewPairs()
	if err := Read(b, "list", strings.NewReader("192.0.2.1:53\n[2001:db8::1]:853\n192.0.2.1:53\n"), Limits{}); err != nil {
		t.Fatal(err)
	}
	s := b.Build(time.Unix(1, 0))
	if s.Entries != 2 {
		t.Errorf("%+v", s.Info)
	}
	for text, want := range map[string]bool{
		"192.0.2.1:53": true, "192.0.2.1:54": false, "192.0.2.2:53": false, "[2001:db8::1]:853": true, "[2001:db8::1]:53": false, "[::ffff:192.0.2.1]:53": false,
	} {
		p := netip.MustParseAddrPort(text)
		if s.Contains(p.Addr(), p.Port()) != want {
			t.Errorf("%s: want %v", text, want)
		}
	}
	for entry, want := range map[string]string{"192.0.2.1": "is no address with a port", "192.0.2.1:x": "is no address", "[fe80::1%a]:1": "zone", "[::ffff:192.0.2.1]:53": "write it as IPv4"} {
		if err := NewPairs().Add([]byte(entry)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ... %s", entry, err, want)
		}
	}
}

// FuzzRead: no text does harm, and each of its lines is an entry, a comment or a problem.
func FuzzRead(f *testing.F) {
	for _, text := range []string{list, "192.0.2.1:53\n[2001:db8::1]:853", "192.0.2.0/24\n.x\nhttp://y", "1-2\n3", "bücher.example\n=a\n*.b", "||a^\n0.0.0.0 b"} {
		f.Add([]byte(text))
		f.Add(zipped(f, text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, b := range []Builder{NewNames(), NewPrefixes(), NewPorts(), NewPairs()} {
			err := Read(b, "x", bytes.NewReader(text), Limits{Entries: 1000, Bytes: 1 << 16})
			if problems, ok := errors.AsType[*Problems](err); ok {
				if problems.Count < 1 || len(problems.List) > maxProblems || len(err.Error()) > 1<<16 {
					t.Errorf("%d problems, %d listed, a text of %d bytes", problems.Count, len(problems.List), len(err.Error()))
				}
			}
			if b.Len() > 1001 {
				t.Errorf("%d entries", b.Len())
			}
		}
	})
}
