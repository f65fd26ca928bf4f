// Command initials prints what quic-go's client sends first, as JSON, and what it has
// asked for: the truth that daemon/internal/names/quic is held against. The datagrams are
// recorded on the loopback interface.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// attempt is a connection that a client tries.
type attempt struct {
	What       string   `json:"what"`
	ServerName string   `json:"server_name"`
	ALPN       []string `json:"alpn"`
	// Datagrams are the client's, in hexadecimal digits, in their order.
	Datagrams []string `json:"datagrams"`

	versions []quic.Version
	curves   []tls.CurveID
	answer   bool // there is a server
	retry    bool // which asks for a token first
}

func main() {
	many := strings.Split(strings.Repeat("a-protocol-with-a-long-name,", 150)+"h3", ",")
	attempts := []*attempt{
		{What: "version 1", ServerName: "one.example.org", ALPN: []string{"h3"}, versions: []quic.Version{quic.Version1}},
		{What: "version 2", ServerName: "two.example.org", ALPN: []string{"h3"}, versions: []quic.Version{quic.Version2}},
		{What: "one datagram", ServerName: "small.example.org", ALPN: []string{"doq"}, curves: []tls.CurveID{tls.X25519}},
		{What: "many protocols", ServerName: "many.example.org", ALPN: many},
		{What: "address", ServerName: "", ALPN: []string{"h3"}},
		{What: "handshake", ServerName: "answered.example.org", ALPN: []string{"h3"}, answer: true},
		{What: "retry", ServerName: "retry.example.org", ALPN: []string{"h3", "h3-29"}, answer: true, retry: true},
		{What: "retry, version 2", ServerName: "retry2.example.org", ALPN: []string{"h3"}, answer: true, retry: true, versions: []quic.Version{quic.Version2}},
	}
	for _, a := range attempts {
		if err := a.record(); err != nil {
			fmt.Fprintf(os.Stderr, "initials: %s: %v\n", a.What, err)
			os.Exit(1)
		}
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", " ")
	if err := out.Encode(attempts); err != nil {
		fmt.Fprintln(os.Stderr, "initials:", err)
		os.Exit(1)
	}
}

// record lets a client connect through a relay.
func (a *attempt) record() error {
	ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
	defer cancel()
	relay, err := listen()
	if err != nil {
		return err
	}
	defer relay.Close()
	var server *net.UDPAddr
	if a.answer {
		conn, err := listen()
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := a.serve(conn); err != nil {
			return err
		}
		server = conn.LocalAddr().(*net.UDPAddr)
	}
	var done sync.WaitGroup
	done.Go(func() { a.relay(relay, server) })
	cfg := &tls.Config{ServerName: a.ServerName, NextProtos: a.ALPN, CurvePreferences: a.curves, InsecureSkipVerify: true}
	conn, err := quic.DialAddr(ctx, relay.LocalAddr().String(), cfg, &quic.Config{Versions: a.versions})
	if a.answer {
		if err != nil {
			return err
		}
		_ = conn.CloseWithError(0, "")
	}
	_ = relay.Close()
	done.Wait()
	if len(a.Datagrams) == 0 {
		return fmt.Errorf("no datagrams: %w", err)
	}
	return nil
}

func listen() (*net.UDPConn, error) {
	return net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
}

// relay passes datagrams on until conn is closed.
func (a *attempt) relay(conn *net.UDPConn, server *net.UDPAddr) {
	var client *net.UDPAddr
	for b := make([]byte, 1<<16); ; {
		n, from, err := conn.ReadFromUDP(b)
		if err != nil {
			return
		}
		if server != nil && from.Port == server.Port {
			_, _ = conn.WriteToUDP(b[:n], client)
			continue
		}
		client = from
		if len(a.Datagrams) < 9 {
			a.Datagrams = append(a.Datagrams, hex.EncodeToString(b[:n]))
		}
		if server != nil {
			_, _ = conn.WriteToUDP(b[:n], server)
		}
	}
}

func (a *attempt) serve(conn net.PacketConn) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "initials"}, NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return err
	}
	transport := &quic.Transport{Conn: conn, VerifySourceAddress: func(net.Addr) bool { return a.retry }}
	_, err = transport.Listen(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: private}}, NextProtos: a.ALPN,
	}, nil)
	return err
}
