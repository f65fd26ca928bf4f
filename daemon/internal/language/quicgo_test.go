package language

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"verdictd/internal/testkit"
)

// quicServer answers each stream with what came in it.
func quicServer(t *testing.T) net.Addr {
	t.Helper()
	transport := &quic.Transport{Conn: listen(t, 443)}
	l, err := transport.Listen(&tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"echo"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(); _ = transport.Close() })
	go func() {
		for {
			c, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				for {
					s, err := c.AcceptStream(context.Background())
					if err != nil {
						return
					}
					_, _ = io.Copy(s, s)
					_ = s.Close()
				}
			}()
		}
	}()
	return transport.Conn.LocalAddr()
}

// echoes connects for a name, and reports whether what it says comes back.
func echoes(ctx context.Context, t *testing.T, to net.Addr, name string, version quic.Version) bool {
	t.Helper()
	transport := &quic.Transport{Conn: listen(t, 0)}
	defer transport.Close()
	cfg := &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"echo"}, CurvePreferences: []tls.CurveID{tls.X25519MLKEM768}}
	c, err := transport.Dial(ctx, to, cfg, &quic.Config{Versions: []quic.Version{version}})
	if err != nil {
		return false
	}
	defer func() { _ = c.CloseWithError(0, "") }()
	s, err := c.OpenStreamSync(ctx)
	if err != nil {
		return false
	}
	_ = s.SetDeadline(time.Now().Add(patience))
	if _, err := s.Write([]byte("hello")); err != nil {
		return false
	}
	_ = s.Close()
	b, err := io.ReadAll(s)
	return err == nil && string(b) == "hello"
}

// TestQUICGo: connections of quic-go, whose hello with X25519MLKEM768 spans two Initial packets, to the names of an
// allow-list and to others.
func TestQUICGo(t *testing.T) {
	for _, pending := range []string{"accept", "hold"} {
		t.Run(pending, func(t *testing.T) {
			ns := testkit.Namespace(t)
			to := quicServer(t)
			d := start(t, ns, fmt.Sprintf(`
policy:
  default: reject
  rules:
    - {name: allowed, quic: {names: [example.org]}, action: accept, pending: %s}
    - {name: others, quic: {}, action: reject, log: 10}
    - {name: answers, action: accept, source_ports: [443]}
`, pending))
			for name, allowed := range map[string]bool{"www.example.org": true, "example.net": false} {
				for _, version := range []quic.Version{quic.Version1, quic.Version2} {
					before, within := d.packets("others"), patience
					if !allowed { // ICMP is nothing to a socket that is not connected: it would wait
						within = impatience
					}
					ctx, cancel := context.WithTimeout(t.Context(), within)
					if got := echoes(ctx, t, to, name, version); got != allowed {
						t.Errorf("%s, %v: connected: %v", name, version, got)
					}
					if !allowed {
						await(t, "the refusal of "+name, func() bool { return d.packets("others") > before })
					} else if n := d.packets("others"); n != before {
						t.Errorf("%s, %v: %d packets refused", name, version, n-before)
					}
					cancel()
				}
			}
			s := d.statistics().Total
			if held := pending == "hold"; (s.Held > 0) != held || s.Joined == 0 {
				t.Errorf("held %d, joined %d", s.Held, s.Joined)
			}
			await(t, "the log", func() bool { return len(logged(d, "rule")) > 0 })
			d.Stop()
		})
	}
}
