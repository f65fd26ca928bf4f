package hello

import (
	"errors"
	"net"
	"os/exec"
	"testing"
	"time"

	"verdictd/daemon/internal/names"
)

// TestOtherPrograms reads what the clients that are installed here send.
func TestOtherPrograms(t *testing.T) {
	for _, test := range []struct {
		program string
		args    func(address, port string) []string
		alpn    string
	}{
		{"openssl", func(address, _ string) []string {
			return []string{"s_client", "-connect", address, "-servername", "openssl.example.org", "-alpn", "h2,http/1.1"}
		}, "h2"},
		{"curl", func(address, _ string) []string {
			return []string{"-s", "--connect-to", "::" + address, "https://curl.example.org/"}
		}, "http/1.1"},
		{"gnutls-cli", func(_, port string) []string {
			return []string{"-p", port, "--sni-hostname", "gnutls-cli.example.org", "--alpn", "h2", "127.0.0.1"}
		}, "h2"},
	} {
		program, err := exec.LookPath(test.program)
		if err != nil {
			t.Logf("%s is not installed", test.program)
			continue
		}
		t.Run(test.program, func(t *testing.T) {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			_, port, _ := net.SplitHostPort(l.Addr().String())
			cmd := exec.CommandContext(t.Context(), program, test.args(l.Addr().String(), port)...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait(); _ = l.Close() }()
			stream := firstBytes(t, l)
			if h, s := compare(t, stream); s != names.Known || string(h.Name) != test.program+".example.org" || !h.Offers(test.alpn) {
				t.Errorf("%q, %v, protocols %q in %x", h.Name, s, h.ALPN, stream)
			}
			prefixes(t, stream, 100)
			var exit *exec.ExitError
			if err := <-ended; err != nil && !errors.As(err, &exit) {
				t.Errorf("wait for %s: %v", test.program, err)
			}
		})
	}
}

// firstBytes are a client's until there is a whole hello.
func firstBytes(t *testing.T, l net.Listener) (stream []byte) {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatalf("nobody came: %v", err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	d, b := NewDecoder(size), make([]byte, 1000)
	for {
		n, err := conn.Read(b)
		stream = append(stream, b[:n]...)
		if _, s := d.Stream(stream, nil); s != names.More {
			return stream
		}
		if err != nil {
			t.Fatalf("no hello in %x: %v", stream, err)
		}
	}
}
