package hello

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/hello/tlsclient"
)

// hellos are what crypto/tls sends as a client, in the records that it sends it in.
func hellos(t testing.TB) map[string][]byte {
	t.Helper()
	post := []tls.CurveID{tls.X25519MLKEM768, tls.X25519}
	all := map[string][]byte{}
	for name, cfg := range map[string]*tls.Config{
		"post-quantum":       {ServerName: "pq.example.org", CurvePreferences: post, NextProtos: []string{"h2", "http/1.1"}},
		"X25519":             {ServerName: "www.Example.org", CurvePreferences: []tls.CurveID{tls.X25519}},
		"TLS 1.2":            {ServerName: "old.example.org", MaxVersion: tls.VersionTLS12},
		"no name":            {InsecureSkipVerify: true, NextProtos: []string{"dot"}},
		"address":            {ServerName: "192.0.2.1"},
		"encrypted":          {ServerName: "secret.example.org", EncryptedClientHelloConfigList: echConfigs(t, "public.example.org"), NextProtos: []string{"h2"}},
		"many protocols":     {ServerName: "example.org", NextProtos: slices.Repeat([]string{"a-long-name-of-a-protocol"}, 600)},
		"punycode, 1.3 only": {ServerName: "xn--bcher-kva.example", MinVersion: tls.VersionTLS13},
	} {
		all[name] = clientHello(t, cfg)
	}
	if n := len(all["post-quantum"]); n < 1200 {
		t.Fatalf("the post-quantum hello has %d bytes, too few to span packets", n)
	}
	return all
}

// clientHello is what a client writes first.
func clientHello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	b, err := tlsclient.Hello(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// errScript is what a connection says whose script has ended.
var errScript = errors.New("end of the script")

// script is a connection on which the peer has said what read has.
type script struct{ read []byte }

func (s *script) Read(b []byte) (int, error) {
	if len(s.read) == 0 {
		return 0, errScript
	}
	n := copy(b, s.read)
	s.read = s.read[n:]
	return n, nil
}

func (*script) Write(b []byte) (int, error)      { return len(b), nil }
func (*script) Close() error                     { return nil }
func (*script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }

// oracle is what a server of crypto/tls reads in stream, or nil.
func oracle(stream []byte) (info *tls.ClientHelloInfo) {
	server := tls.Server(&script{read: stream}, &tls.Config{
		GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
			info = i
			return nil, errScript
		},
	})
	_ = server.Handshake()
	return info
}

// echConfigs is a list with one configuration, as DNS would tell it (RFC 9849, 4).
func echConfigs(t testing.TB, public string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	withLength := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	body := []byte{7, 0, 0x20} // identifier, DHKEM(X25519, HKDF-SHA256)
	body = append(body, withLength(key.PublicKey().Bytes())...)
	body = append(body, withLength([]byte{0, 1, 0, 1})...) // HKDF-SHA256, AES-128-GCM
	body = append(body, 32, byte(len(public)))
	body = append(append(body, public...), 0, 0)
	return withLength(append([]byte{0xfe, 0x0d}, withLength(body)...))
}

// split puts the content of stream's first record into records of at most n bytes.
func split(stream []byte, n int) (out []byte) {
	for content := range slices.Chunk(stream[recordHeaderLen:], n) {
		out = append(out, recordHandshake, 3, 1, byte(len(content)>>8), byte(len(content)))
		out = append(out, content...)
	}
	return out
}

// dst is a caller's buffer.
func dst() []byte { return make([]byte, 0, names.MaxText) }
