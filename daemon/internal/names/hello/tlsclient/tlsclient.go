package tlsclient

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// Hello is what a client of this configuration writes first: whole records of TLS. With X25519MLKEM768, as by
// default, it is longer than 1,200 bytes.
//
// Errors: what crypto/tls says of a configuration that it does not take.
func Hello(cfg *tls.Config) ([]byte, error) {
	c := &conn{}
	if err := tls.Client(c, cfg).Handshake(); !errors.Is(err, errSilent) {
		return nil, fmt.Errorf("make a ClientHello: %w", err)
	}
	return c.written, nil
}

// errSilent is what the client is told when it waits for an answer.
var errSilent = errors.New("nobody answers")

// conn takes what is written.
type conn struct{ written []byte }

func (*conn) Read([]byte) (int, error) { return 0, errSilent }

func (c *conn) Write(b []byte) (int, error) {
	c.written = append(c.written, b...)
	return len(b), nil
}

func (*conn) Close() error                     { return nil }
func (*conn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*conn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*conn) SetDeadline(time.Time) error      { return nil }
func (*conn) SetReadDeadline(time.Time) error  { return nil }
func (*conn) SetWriteDeadline(time.Time) error { return nil }
