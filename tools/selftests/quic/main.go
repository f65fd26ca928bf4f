// Command quic sends and receives bytes over QUIC, for the selftests: a server
// returns each stream's length and as many bytes as came in. quic-go sends with
// UDP_SEGMENT where the kernel has it.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"time"

	"github.com/quic-go/quic-go"
)

func main() {
	serve := flag.String("serve", "", "address to serve at")
	connect := flag.String("connect", "", "address to connect to")
	bytes := flag.Int64("bytes", 50<<20, "bytes each way")
	timeout := flag.Duration("timeout", time.Minute, "bound on everything")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	err := errors.New("say -serve or -connect")
	switch {
	case *serve != "":
		err = runServer(ctx, *serve)
	case *connect != "":
		err = runClient(ctx, *connect, *bytes)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "quic:", err)
		os.Exit(1)
	}
}

const protocol = "selftest"

func runServer(ctx context.Context, address string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: protocol}, NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return err
	}
	listener, err := quic.ListenAddr(address, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: private}}, NextProtos: []string{protocol},
	}, nil)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		conn, err := listener.Accept(ctx)
		if err != nil {
			return err
		}
		go serveConn(ctx, conn)
	}
}

func serveConn(ctx context.Context, conn *quic.Conn) {
	for {
		stream, err := conn.AcceptStream(ctx)
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, stream)
		if err == nil {
			_, err = io.CopyN(stream, zeros{}, n)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "quic:", err)
		}
		_ = stream.Close()
	}
}

func runClient(ctx context.Context, address string, bytes int64) error {
	// The server is the test's own, over a link of the test's own.
	conn, err := quic.DialAddr(ctx, address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}, nil)
	if err != nil {
		return err
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := io.CopyN(stream, zeros{}, bytes); err != nil {
		return err
	}
	if err := stream.Close(); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, stream)
	if err != nil {
		return err
	}
	if n != bytes {
		return fmt.Errorf("%d bytes came back of %d", n, bytes)
	}
	fmt.Printf("%d bytes each way in %.2f s\n", n, time.Since(began).Seconds())
	return conn.CloseWithError(0, "")
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
