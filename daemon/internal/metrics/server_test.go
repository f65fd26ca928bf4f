package metrics

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// serve serves on loopback until the test ends.
func serve(t *testing.T, c Config) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	if c.Live == nil {
		c.Live = func() error { return nil }
	}
	s := full().Serve(l, c)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func get(t *testing.T, client *http.Client, url, user, password string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

func TestHealth(t *testing.T) {
	notReady := errors.New("the rules of table verdictd are gone")
	address := serve(t, Config{Ready: func() error { return notReady }})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	url := "http://" + address
	if status, body := get(t, client, url+"/healthz", "", ""); status != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", status, body)
	}
	if status, body := get(t, client, url+"/readyz", "", ""); status != 503 || !strings.Contains(body, notReady.Error()) {
		t.Errorf("/readyz: %d %q", status, body)
	}
	notReady = nil
	if status, _ := get(t, client, url+"/readyz", "", ""); status != 200 {
		t.Errorf("/readyz: %d", status)
	}
	status, body := get(t, client, url+"/metrics", "", "")
	if status != 200 || !strings.Contains(body, `verdictd_queue_verdict_latency_seconds_bucket{queue="7",le="5e-05"} 3`) || !strings.Contains(body, "go_goroutines") {
		t.Errorf("/metrics: %d\n%s", status, body)
	}
	if status, _ := get(t, client, url+"/", "", ""); status != 404 {
		t.Errorf("/: %d", status)
	}
}

// TestTLSAndPassword as exporter-toolkit's file says.
func TestTLSAndPassword(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"verdictd"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	file := write("web.yaml", fmt.Appendf(nil,
		"tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {prometheus: %s}\n", hash))

	address := serve(t, Config{WebConfig: file, Ready: func() error { return nil }})
	roots := x509.NewCertPool()
	own, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(own)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "verdictd", MinVersion: tls.VersionTLS12},
	}}
	url := "https://" + address + "/metrics"
	for password, want := range map[string]int{"right": 200, "wrong": 401} {
		if status, _ := get(t, client, url, "prometheus", password); status != want {
			t.Errorf("with the %s password: %d, want %d", password, status, want)
		}
	}
	if status, body := get(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, "http://"+address+"/metrics", "", ""); status == 200 {
		t.Errorf("without TLS: %s", body)
	}
}

func TestWrongWebConfig(t *testing.T) {
	for text, want := range map[string]string{
		"tls_server_config: {cert_file: nowhere.pem, key_file: nowhere.pem}\n": "nowhere.pem",
		"passwords: {}\n": "passwords",
	} {
		file := filepath.Join(t.TempDir(), "web.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Check(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := Check(""); err != nil {
		t.Error(err)
	}
}
