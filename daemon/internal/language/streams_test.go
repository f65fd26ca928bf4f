package language

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"verdictd/daemon/internal/names/hello/tlsclient"
	"verdictd/internal/testkit"
)

// logged are the names in the lines of a message.
func logged(d *daemon, message string) (names []string) {
	for _, found := range regexp.MustCompile(`msg=`+message+` .* name=(\S+)`).FindAllStringSubmatch(d.Log(), -1) {
		names = append(names, found[1])
	}
	return names
}

// certificate is one for every name that asks nobody whom it is from.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secure serves TLS at port 443, which says hello and ends.
func secure(t *testing.T) {
	t.Helper()
	cfg := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"http/1.1"}}
	server(t, 443, func(c net.Conn) {
		s := tls.Server(c, cfg)
		if s.Handshake() == nil {
			_, _ = http.ReadRequest(bufio.NewReader(s))
			_, _ = s.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"))
			_ = s.Close()
		}
	})
}

// shakes does a handshake for a name.
func shakes(t *testing.T, name string, within time.Duration, protocols ...string) bool {
	t.Helper()
	c := dial(t, "tcp4", 443)
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	return tls.Client(c, &tls.Config{ServerName: name, NextProtos: protocols, InsecureSkipVerify: true}).Handshake() == nil
}

// TestTLS: the hello of crypto/tls is longer than a segment here (X25519MLKEM768), those of
// curl and openssl come as they are.
func TestTLS(t *testing.T) {
	for _, pending := range []string{"accept", "hold"} {
		t.Run(pending, func(t *testing.T) {
			ns := testkit.Namespace(t)
			if err := ns.SetMTU("lo", 600); err != nil {
				t.Fatal(err)
			}
			secure(t)
			d := start(t, ns, fmt.Sprintf(`
policy:
  rules:
    - {name: blocked, tls: {names: [blocked.example]}, action: drop, pending: %[1]s, log: 10}
    - {name: protocols, tls: {alpn: [h3-secret]}, action: drop, pending: %[1]s}
`, pending))
			for _, name := range []string{"example.org", "notblocked.example", ""} {
				if !shakes(t, name, patience) {
					t.Errorf("%q is blocked", name)
				}
			}
			for _, name := range []string{"blocked.example", "www.blocked.example"} {
				if shakes(t, name, impatience) {
					t.Errorf("%q gets through", name)
				}
			}
			if shakes(t, "example.org", impatience, "http/1.1", "h3-secret") {
				t.Error("a protocol that is dropped gets through")
			}
			programs(t)
			s := d.statistics().Total
			if held := pending == "hold"; (s.Held > 0) != held || s.Joined == 0 || s.Midstream != 0 {
				t.Errorf("held %d, joined %d, midstream %d", s.Held, s.Joined, s.Midstream)
			}
			d.Stop()
		})
	}
}

// programs tries the clients that are installed here.
func programs(t *testing.T) {
	t.Helper()
	for _, test := range []struct {
		program string
		args    func(name string) []string
	}{
		{"curl", func(name string) []string {
			return []string{"-sk", "--max-time", "10", "--connect-to", "::127.0.0.1:443", "https://" + name + "/"}
		}},
		{"openssl", func(name string) []string {
			return []string{"s_client", "-connect", "127.0.0.1:443", "-servername", name, "-quiet"}
		}},
	} {
		program, err := exec.LookPath(test.program)
		if err != nil {
			t.Logf("%s is not installed", test.program)
			continue
		}
		if out := output(t, patience, program, test.args("example.org"), "hello"); !bytes.Contains(out, []byte("hello")) {
			t.Errorf("%s is blocked: %q", test.program, out)
		}
		if out := output(t, impatience, program, test.args("www.blocked.example"), "hello"); bytes.Contains(out, []byte("hello")) {
			t.Errorf("%s gets through", test.program)
		}
	}
}

// output is what a program writes until it has written something, or a time is over.
func output(t *testing.T, within time.Duration, program string, args []string, until string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin = bytes.NewReader([]byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(within, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	var all []byte
	b := make([]byte, 4096)
	for err == nil && !bytes.Contains(all, []byte(until)) {
		var n int
		n, err = stdout.Read(b)
		all = append(all, b[:n]...)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	return all
}

// TestHold: of a name that is blocked the server sees nothing, of another one everything,
// however the client cuts its hello; one that never ends it goes on as too long.
func TestHold(t *testing.T) {
	ns := testkit.Namespace(t)
	var got atomic.Int64
	server(t, 443, func(c net.Conn) {
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			got.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	d := start(t, ns, `
policy:
  names: {time: 1s}
  rules:
    - {name: blocked, tls: {names: [blocked.example]}, action: drop, pending: hold}
    - {name: endless, name_state: [too-long], action: count}
`)
	pieces := func(hello []byte, cuts ...int) {
		t.Helper()
		c := dial(t, "tcp4", 443) // with TCP_NODELAY
		at := 0
		for _, to := range append(cuts, len(hello)) {
			if _, err := c.Write(hello[at:to]); err != nil {
				t.Fatal(err)
			}
			at = to
			time.Sleep(20 * time.Millisecond)
		}
	}
	blocked, allowed := clientHello(t, "blocked.example"), clientHello(t, "example.org")
	pieces(blocked, 1, 5, 300)
	await(t, "the drop", func() bool { return d.packets("blocked") > 0 })
	if n := got.Load(); n != 0 {
		t.Errorf("the server saw %d bytes of a hello that is blocked", n)
	}
	pieces(allowed, 1, 5, 300)
	await(t, "the hello that is allowed", func() bool { return got.Load() == int64(len(allowed)) })
	before := d.statistics().Total
	pieces(allowed[:400], 100)
	await(t, "what is no hello in time", func() bool { return got.Load() == int64(len(allowed)+400) })
	after := d.statistics().Total
	if after.HeldOver <= before.HeldOver || d.packets("endless") == 0 {
		t.Errorf("held over: %d, then %d; counted: %d", before.HeldOver, after.HeldOver, d.packets("endless"))
	}
	d.Stop()
	if s := d.Log(); strings.Contains(s, "level=ERROR") {
		t.Errorf("the log has errors:\n%s", s)
	}
}

// clientHello is what crypto/tls sends first.
func clientHello(t *testing.T, name string) []byte {
	t.Helper()
	b, err := tlsclient.Hello(&tls.Config{ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHTTP: the Host of a request, over one connection as over another.
func TestHTTP(t *testing.T) {
	ns := testkit.Namespace(t)
	server(t, 80, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		}
	})
	d := start(t, ns, "policy: {rules: [{name: blocked, http: {names: [blocked.example]}, action: drop}]}\n")
	for host, want := range map[string]bool{"example.org": true, "www.Blocked.example": false, "blocked.example:80": false} {
		c := dial(t, "tcp4", 80)
		if err := c.SetReadDeadline(time.Now().Add(map[bool]time.Duration{true: patience, false: impatience}[want])); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(make([]byte, 100))
		if (n > 0) != want {
			t.Errorf("%s: %d bytes, %v; want an answer: %v", host, n, err, want)
		}
	}
	d.Stop()
}
