package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"verdictd/daemon/internal/names"
	"verdictd/internal/testkit"
)

var requests = []struct {
	text, name string
	state      names.State
}{
	{"GET / HTTP/1.1\r\nHost: www.Example.org\r\n\r\n", "www.example.org", names.Known},
	{"GET / HTTP/1.1\r\nUser-Agent: x\r\nhOST:\texample.org:8080 \t\r\nAccept: */*\r\n\r\nbody", "example.org", names.Known},
	{"POST /a?b=http://x/ HTTP/1.0\nHost:example.org.\n\n", "example.org", names.Known},
	{"\r\n\r\nGET / HTTP/1.1\r\nHost: example.org:\r\n\r\n", "example.org", names.Known},
	{"GET / HTTP/1.1\r\nHost: [2001:DB8::1]:80\r\n\r\n", "2001:db8::1", names.Known},
	{"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", "192.0.2.1", names.Known},
	{"GET http://One.example/x HTTP/1.1\r\nHost: two.example\r\n\r\n", "one.example", names.Known},
	{"GET http://user:pass@one.example:81?q HTTP/1.1\r\n", "one.example", names.Known},
	{"CONNECT one.example:443 HTTP/1.1\r\nHost: two.example\r\n\r\n", "one.example", names.Known},
	{"OPTIONS * HTTP/1.1\r\nHost: example.org\r\n\r\n", "example.org", names.Known},
	{"GET  /two  HTTP/1.1\r\nHost: example.org\r\n\r\n", "example.org", names.Known},
	{"GET / HTTP/1.1\r\nX: a\r\n b\r\nHost: example.org\r\nY: z\r\n\r\n", "example.org", names.Known},
	{"GET / HTTP/1.1\r\nHost: xn--bcher-kva.example\r\n\r\n", "xn--bcher-kva.example", names.Known},
	{"", "", names.More},
	{"\r\n", "", names.More},
	{"GE", "", names.More},
	{"GET / HTTP/1.1\r", "", names.More},
	{"GET / HTTP/1.1\r\nHost: example.org\r\n", "", names.More},
	{"GET / HTTP/1.1\r\nHost: exam", "", names.More},
	{"GET / HTTP/1.1\r\n\r\n", "", names.None},
	{"GET / HTTP/1.1\r\nHost:\r\n\r\n", "", names.None},
	{"GET / HTTP/1.1\r\nHost: one.example\r\nHost: two.example\r\n\r\n", "", names.None},
	{"GET / HTTP/1.1\r\nHost: one.example\r\n two.example\r\n\r\n", "", names.None},
	{"GET / HTTP/1.1\r\n Host: one.example\r\n\r\n", "", names.None},
	{"GET / HTTP/1.1\r\nHost : one.example\r\n\r\n", "", names.None},
	{"GET / HTTP/1.1\r\nHost: one.example two.example\r\n\r\n", "", names.None},
	{"GET / HTTP/1.1\r\nHost: a@one.example\r\n\r\n", "", names.None},
	{"GET / HTTP/1.1\r\nHost: one.example:80:90\r\n\r\n", "", names.None},
	{"GET / HTTP/1.1\r\nHost: [2001:db8::1\r\n\r\n", "", names.None},
	{"GET / HTTP/1.1\r\nno colon\r\nHost: one.example\r\n\r\n", "", names.None},
	{"GET a:b HTTP/1.1\r\nHost: one.example\r\n\r\n", "one.example", names.Known},
	{"GET example.org HTTP/1.1\r\nHost: one.example\r\n\r\n", "", names.None},
	{"GET /\r\n", "", names.None},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", names.None},
	{"SSH-2.0-OpenSSH_9.9\r\n", "", names.None},
	{"\x16\x03\x01\x02\x00\x01", "", names.None},
	{strings.Repeat("A", maxMethod+1), "", names.None},
	{"GET / HTTP/1.1\r\nHost: " + strings.Repeat("a", names.MaxHost+1) + "\r\n\r\n", "", names.TooLong},
}

func TestRequest(t *testing.T) {
	for _, test := range requests {
		name, s := Request([]byte(test.text), nil)
		if string(name) != test.name || s != test.state {
			t.Errorf("%q: %q, %v, want %q, %v", test.text, name, s, test.name, test.state)
		}
		compare(t, []byte(test.text))
	}
}

// oracle is the host that net/http's server takes the request to be for. It says nothing
// on what it does not read.
func oracle(b []byte) (host string, ok bool) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
	if err != nil || r.ProtoMajor != 1 || r.Host == "" {
		return "", false
	}
	head := textproto.NewReader(bufio.NewReader(bytes.NewReader(b)))
	if _, err := head.ReadLine(); err != nil {
		return "", false
	}
	fields, err := head.ReadMIMEHeader()
	// The server refuses more than ReadRequest does.
	if err != nil && err != io.EOF || len(fields["Host"]) > 1 { //nolint:errorlint // is never wrapped
		return "", false
	}
	for field := range fields {
		if !httpguts.ValidHeaderFieldName(field) {
			return "", false
		}
	}
	return r.Host, true
}

// plain is a host that has one reading: letters, and perhaps a port.
func plain(host string) (name string, ok bool) {
	name, port, found := strings.Cut(host, ":")
	if found && strings.Trim(port, "0123456789") != "" || len(port) > 5 || len(name) > names.MaxHost {
		return "", false
	}
	if len(name) > 1 {
		name = strings.TrimSuffix(name, ".")
	}
	for _, c := range name {
		if c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return "", false
		}
	}
	return strings.ToLower(name), name != ""
}

// compare: what net/http takes for a plain host is found, and no other is.
func compare(t *testing.T, b []byte) {
	t.Helper()
	name, s := Request(b, nil)
	if host, ok := oracle(b); ok {
		if want, ok := plain(host); ok && (s != names.Known || string(name) != want) && !lenient(b) {
			t.Errorf("%q: %q, %v, net/http has %q", b, name, s, host)
		}
	}
	if s != names.Known && len(name) > 0 {
		t.Errorf("%q: %v, and yet %q", b, s, name)
	}
	// More of it never changes what was decided.
	for n := 0; n < len(b); n += 1 + len(b)/64 {
		if part, state := Request(b[:n], nil); state != names.More && (state != s || !bytes.Equal(part, name)) {
			t.Fatalf("the first %d bytes of %q: %q %v, all of them %q %v", n, b, part, state, name, s)
		}
	}
}

// lenient are requests that RFC 9112 has servers refuse, and net/http takes: folded
// fields, methods of any length, control characters.
func lenient(b []byte) bool {
	head, _, _ := bytes.Cut(b, []byte("\n\r\n"))
	method, _, _ := bytes.Cut(head, []byte(" "))
	return len(method) > maxMethod || bytes.Contains(head, []byte("\n ")) || bytes.Contains(head, []byte("\n\t")) ||
		bytes.ContainsFunc(head, func(r rune) bool { return r < ' ' && r != '\r' && r != '\n' && r != '\t' || r >= 0x7f })
}

func FuzzRequest(f *testing.F) {
	for _, test := range requests {
		f.Add([]byte(test.text))
	}
	for _, b := range testkit.Recorded(f, "testdata/requests.txt") {
		f.Add(b)
	}
	f.Fuzz(compare)
}

func BenchmarkRequest(b *testing.B) {
	request, dst := []byte(requests[1].text), make([]byte, 0, names.MaxText)
	b.ReportAllocs()
	for b.Loop() {
		Request(request, dst)
	}
}
