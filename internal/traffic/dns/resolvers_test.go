package dns

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"verdictd/internal/netlab"
)

// TestMusl: its questions are of one flow, as glibc's are; what is lost it asks again after the timeout divided by the
// attempts.
func TestMusl(t *testing.T) {
	compiler, err := exec.LookPath("musl-gcc")
	if err != nil {
		t.Skip("no musl-gcc (Debian: musl-tools):", err)
	}
	bin := t.TempDir()
	program := filepath.Join(bin, "getent")
	out, err := exec.Command(compiler, "-static", "-Wall", "-Werror", "-o", program, "../../../lab/reference/getent.c").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	cfg, ns := place(t)
	cfg.Client, cfg.Resolutions, cfg.AttemptTimeout, cfg.Attempts = Getaddrinfo, 12, 28*time.Second, 4
	want := uint64(cfg.Resolutions)
	res, err := Run(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Resolved != want || res.Served.OneFlow != want {
		t.Errorf("%+v, want %d resolved, each by two questions of one flow", res, want)
	}
	if _, err := ns.DropAtRandom(netlab.HookInput, dnsPort, 3); err != nil {
		t.Fatal(err)
	}
	cfg.Resolutions, cfg.Parallel, cfg.AttemptTimeout = 24, 24, 4*time.Second
	if res, err = Run(t.Context(), cfg, nil); err != nil {
		t.Fatal(err)
	}
	interval := 1000 * cfg.AttemptTimeout.Seconds() / float64(cfg.Attempts)
	if res.Retried == 0 || res.Time.Max < 0.9*interval {
		t.Errorf("%+v, want that some have asked again after %v ms", res, interval)
	}
}

// TestGo: Go's own resolver asks each question from a socket of its own.
func TestGo(t *testing.T) {
	cfg, ns := place(t)
	cfg.Resolutions = 8
	naming := naming{1}
	var s *server
	err := ns.Do(func() (err error) {
		s, err = startServer(&cfg, naming)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}()
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
		err = ns.Do(func() (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, network, cfg.server().String())
			return err
		})
		return conn, err
	}}
	for i := range cfg.Resolutions {
		found, err := resolver.LookupNetIP(t.Context(), "ip", naming.name(i))
		if err != nil {
			t.Fatal(err)
		}
		a, aaaa := addresses(i)
		for j := range found {
			found[j] = found[j].Unmap()
		}
		if len(found) != 2 || found[0] != a && found[1] != a || found[0] != aaaa && found[1] != aaaa {
			t.Errorf("%v, want %v", found, []netip.Addr{a, aaaa})
		}
	}
	if got := s.total(); got.OneFlow != 0 || got.A < 8 || got.AAAA < 8 {
		t.Errorf("%+v, want no two questions of one flow", got)
	}
}
