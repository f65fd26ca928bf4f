package quic

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/hello"
	"verdictd/daemon/internal/reassembly"
)

// attempt is what tools/selftests/initials writes: datagrams of quic-go, and the truth.
type attempt struct {
	What       string   `json:"what"`
	ServerName string   `json:"server_name"`
	ALPN       []string `json:"alpn"`
	Datagrams  []string `json:"datagrams"`
}

func (a *attempt) bytes(t testing.TB) (list [][]byte) {
	t.Helper()
	for _, text := range a.Datagrams {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	return list
}

// recorded are attempts in testdata. To make them again, in this folder:
// go run -C ../../../../tools/selftests ./initials >testdata/initials.json
func recorded(t testing.TB) (list []attempt) {
	t.Helper()
	text, err := os.ReadFile("testdata/initials.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// reader puts decoder, reassembly and hello together.
type reader struct {
	d      *Decoder
	pool   *reassembly.Pool
	buffer int32
	conn   Conn
	frames int
}

func newReader(t testing.TB) *reader {
	t.Helper()
	pool, err := reassembly.New(reassembly.Config{Flows: 1, Bytes: 16 << 10, Packets: 64, Age: 1})
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{d: NewDecoder(1e6), pool: pool}
	r.buffer, _ = pool.Open(0, 0)
	return r
}

func (r *reader) datagram(b, dst []byte) (hello.Hello, names.State) {
	r.d.Datagram(b, 0)
	for f, ok := r.d.Next(&r.conn); ok; f, ok = r.d.Next(&r.conn) {
		if f.Restart {
			r.pool.Reset(r.buffer)
		}
		r.frames++
		r.pool.Add(r.buffer, int64(f.Offset), f.Data)
	}
	return hello.Message(r.pool.Bytes(r.buffer), dst)
}

// sealed is an Initial packet as RFC 9001 makes it, with the standard library's HKDF.
func sealed(t testing.TB, version uint32, key, destination, source, token []byte, number uint32, plain []byte) []byte {
	t.Helper()
	label, kind := "quic", byte(0)
	if version == Version2 {
		label, kind = "quicv2", 1
	}
	expand := func(secret []byte, label string, n int) []byte {
		label = "tls13 " + label
		info := append([]byte{0, byte(n), byte(len(label))}, label...)
		out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	salt := schemeOf(version).salt
	initial, err := hkdf.Extract(sha256.New, key, salt[:])
	if err != nil {
		t.Fatal(err)
	}
	client := expand(initial, "client in", 32)
	block, err := aes.NewCipher(expand(client, label+" key", 16))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	header := binary.BigEndian.AppendUint32([]byte{0xc3 | kind<<4}, version)
	header = append(append(header, byte(len(destination))), destination...)
	header = append(append(header, byte(len(source))), source...)
	header = append(binary.BigEndian.AppendUint16(header, 0x4000|uint16(len(token))), token...)
	header = binary.BigEndian.AppendUint32(header, 0x80000000|uint32(4+len(plain)+aead.Overhead()))
	at := len(header)
	header = binary.BigEndian.AppendUint32(header, number)
	nonce := expand(client, label+" iv", 12)
	for i, c := range header[at:] {
		nonce[8+i] ^= c
	}
	out := aead.Seal(bytes.Clone(header), nonce, plain, header)
	protection, err := aes.NewCipher(expand(client, label+" hp", 16))
	if err != nil {
		t.Fatal(err)
	}
	var mask [16]byte
	protection.Encrypt(mask[:], out[at+4:])
	out[0] ^= mask[0] & 0xf
	for i := range 4 {
		out[at+i] ^= mask[1+i]
	}
	return out
}

// crypto is a CRYPTO frame.
func crypto(offset int, data []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{frameCrypto}, 0x80000000|uint32(offset))
	return append(binary.BigEndian.AppendUint16(b, 0x4000|uint16(len(data))), data...)
}
