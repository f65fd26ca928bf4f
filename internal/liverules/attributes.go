package liverules

import (
	"encoding/binary"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// attributes are netlink attributes by their type. One that is absent or too
// short for what it is asked for reads as zero: nftables leaves defaults out.
type attributes map[uint16][]byte

func parseAttributes(b []byte) (attributes, error) {
	decoder, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return nil, err
	}
	a := attributes{}
	for decoder.Next() {
		a[decoder.Type()] = decoder.Bytes()
	}
	return a, decoder.Err()
}

// parseList takes a list of attributes apart, whose types say nothing.
func parseList(b []byte) ([][]byte, error) {
	decoder, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return nil, err
	}
	var list [][]byte
	for decoder.Next() {
		list = append(list, decoder.Bytes())
	}
	return list, decoder.Err()
}

func (a attributes) has(kind uint16) bool { _, ok := a[kind]; return ok }

func (a attributes) get(kind uint16) []byte { return a[kind] }

func (a attributes) text(kind uint16) string { return unix.ByteSliceToString(a[kind]) }

func (a attributes) u16(kind uint16) uint16 {
	if b := a[kind]; len(b) >= 2 {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (a attributes) u32(kind uint16) uint32 {
	if b := a[kind]; len(b) >= 4 {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (a attributes) u64(kind uint16) uint64 {
	if b := a[kind]; len(b) >= 8 {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// nested parses an attribute's own attributes; nil if it is absent.
func (a attributes) nested(kind uint16) (attributes, error) {
	b, ok := a[kind]
	if !ok {
		return nil, nil
	}
	return parseAttributes(b)
}

// data is the value in an attribute of nested type nft_data.
func (a attributes) data(kind uint16) []byte {
	nested, err := a.nested(kind)
	if err != nil {
		return nil
	}
	return nested.get(unix.NFTA_DATA_VALUE)
}
