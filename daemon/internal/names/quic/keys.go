package quic

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
)

// The versions whose Initial packets can be opened.
const (
	Version1 = 1
	Version2 = 0x6b3343cf
)

const (
	maxID  = 20 // bytes of a connection identifier in these versions
	keyLen = 16
	ivLen  = 12
)

// scheme is what differs between versions: the salt, the names of keys, and the type that
// an Initial packet has.
type scheme struct {
	salt                        [20]byte
	key, iv, headerKey          string
	initial, zeroRTT, handshake byte
}

var (
	// RFC 9001, 5.2; RFC 9000, 17.2.
	scheme1 = scheme{
		salt: [20]byte{0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a},
		key:  "tls13 quic key", iv: "tls13 quic iv", headerKey: "tls13 quic hp",
		initial: 0, zeroRTT: 1, handshake: 2,
	}
	// RFC 9369, 3.2 and 3.3.
	scheme2 = scheme{
		salt: [20]byte{0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9},
		key:  "tls13 quicv2 key", iv: "tls13 quicv2 iv", headerKey: "tls13 quicv2 hp",
		initial: 1, zeroRTT: 2, handshake: 3,
	}
)

func schemeOf(version uint32) *scheme {
	switch version {
	case Version1:
		return &scheme1
	case Version2:
		return &scheme2
	}
	return nil
}

// keys open a client's Initial packets.
type keys struct {
	aead   cipher.AEAD
	header cipher.Block
	iv     [ivLen]byte
}

// derive makes the keys of a client that has chosen id.
func (s *scheme) derive(id []byte) (k keys) {
	initial := mac(s.salt[:], id)
	client := expand(&initial, "tls13 client in", sha256.Size)
	key, iv, header := expand(&client, s.key, keyLen), expand(&client, s.iv, ivLen), expand(&client, s.headerKey, keyLen)
	block, _ := aes.NewCipher(key[:keyLen]) // fails for other lengths of the key only
	k.aead, _ = cipher.NewGCM(block)        // fails for other blocks than of 16 bytes only
	k.header, _ = aes.NewCipher(header[:keyLen])
	copy(k.iv[:], iv[:])
	return k
}

// expand is HKDF-Expand-Label (RFC 8446, 7.1) of one block at most and without a context.
// crypto/hkdf does the same, and allocates for each call; the test holds this against it.
func expand(secret *[sha256.Size]byte, label string, length int) [sha256.Size]byte {
	var info [32]byte
	info[1], info[2] = byte(length), byte(len(label))
	n := 3 + copy(info[3:], label)
	info[n+1] = 1 // behind the empty context: the number of the block
	return mac(secret[:], info[:n+2])
}

// mac is HMAC-SHA256 of a key and a message of a block at most.
func mac(key, message []byte) [sha256.Size]byte {
	const block = sha256.BlockSize
	var inner [2 * block]byte
	var outer [block + sha256.Size]byte
	copy(inner[:block], key)
	copy(outer[:block], key)
	for i := range block {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	sum := sha256.Sum256(inner[:block+copy(inner[block:], message)])
	copy(outer[block:], sum[:])
	return sha256.Sum256(outer[:])
}
