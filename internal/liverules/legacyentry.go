package liverules

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// A layout is where the fields of an entry are, which differs between
// struct ipt_entry and struct ip6t_entry. Each begins with source and
// destination, their masks, two interface names and their masks.
type layout struct {
	family   Family
	address  int // length of an address
	protocol int // offset; 16 bits
	flags    int // offset; 8 bits, inverse flags behind it
	offsets  int // of the target and of the next entry, 16 bits each
	size     int // of the entry, up to its matches
	gotoFlag byte
	// protocolFlag (IP6T_F_PROTO) tells whether there is a protocol, where 0 is
	// one.
	protocolFlag byte
}

// alignment is XT_ALIGN's: that of a u64.
func alignment() int {
	if runtime.GOARCH == "386" {
		return 4
	}
	return 8
}

func align(n int) int { return (n + alignment() - 1) &^ (alignment() - 1) }

func layoutOf(f Family) layout {
	const counters = 16
	if f == IPv6 {
		return layout{
			family: IPv6, address: 16, protocol: 128, flags: 131, offsets: 140,
			size: align(148) + counters, gotoFlag: 0x04, protocolFlag: 0x01,
		}
	}
	return layout{
		family: IPv4, address: 4, protocol: 80, flags: 82, offsets: 88,
		size: align(96) + counters, gotoFlag: 0x02,
	}
}

// extensionHeader is the size of struct xt_entry_match and xt_entry_target:
// their own size, a name of 29 bytes, the revision.
const (
	extensionHeader = 32
	extensionName   = 2
	extensionRev    = 31
)

// An entry is one rule as it is in the kernel.
type entry struct {
	header  []byte // struct ipt_entry or ip6t_entry
	matches []extension
	target  extension
	length  int // to the next entry
	goTo    bool
}

type extension struct {
	name     string
	revision uint32
	info     []byte
}

// entry reads the entry at the beginning of b, no more than is surely there.
func (l layout) entry(b []byte) (entry, error) {
	if len(b) < l.size {
		return entry{}, fmt.Errorf("%d bytes, shorter than an entry: %w", len(b), errMalformed)
	}
	target := int(binary.NativeEndian.Uint16(b[l.offsets:]))
	next := int(binary.NativeEndian.Uint16(b[l.offsets+2:]))
	if target < l.size || next > len(b) || target > next-extensionHeader {
		return entry{}, fmt.Errorf("target at %d, next entry at %d of %d bytes: %w", target, next, len(b), errMalformed)
	}
	e := entry{header: b[:l.size], length: next, goTo: b[l.flags]&l.gotoFlag != 0}
	for at := l.size; at < target; {
		x, size, err := readExtension(b[at:target])
		if err != nil {
			return entry{}, fmt.Errorf("match: %w", err)
		}
		e.matches = append(e.matches, x)
		at += size
	}
	var err error
	if e.target, _, err = readExtension(b[target:next]); err != nil {
		return entry{}, fmt.Errorf("target: %w", err)
	}
	return e, nil
}

func readExtension(b []byte) (extension, int, error) {
	if len(b) < extensionHeader {
		return extension{}, 0, fmt.Errorf("%d bytes, shorter than its header: %w", len(b), errMalformed)
	}
	size := int(binary.NativeEndian.Uint16(b))
	if size < extensionHeader || size > len(b) {
		return extension{}, 0, fmt.Errorf("size %d of %d bytes: %w", size, len(b), errMalformed)
	}
	return extension{
		name:     unix.ByteSliceToString(b[extensionName:extensionRev]),
		revision: uint32(b[extensionRev]),
		info:     b[extensionHeader:size],
	}, size, nil
}

// verdict is that of the standard target, whose name is empty: an offset to
// jump to, or -1-NF_*.
func (e entry) verdict() (int, bool) {
	if e.target.name != "" || len(e.target.info) < 4 {
		return 0, false
	}
	return int(int32(binary.NativeEndian.Uint32(e.target.info))), true
}

// rule translates an entry.
func (e entry) rule(l layout) rule {
	r := rule{conditions: l.conditions(e.header)}
	for _, m := range e.matches {
		r.applyXTMatch(m.name, m.revision, m.info)
	}
	v, standard := e.verdict()
	switch {
	case !standard:
		r.applyXTTarget(e.target.name, e.target.revision, e.target.info)
	case v == -1-verdictReturn:
		r.outcomes = comesBack
	case v >= 0 && e.goTo:
		r.outcomes = handsOver
	case v >= 0:
		r.outcomes = goesOn
	case v == -1-verdictQueue:
		q := bareQueue(verdictQueue)
		r.queue, r.outcomes = &q, absorbed
	default:
		r.outcomes = absorbed
	}
	return r
}

// Inverse flags, the same in IPv4 and IPv6 as far as they are used here.
const (
	invertIn, invertOut         = 0x01, 0x02
	invertSource, invertDest    = 0x08, 0x10
	invertFragment, invertProto = 0x20, 0x40
	flagFragment                = 0x01 // IPT_F_FRAG
)

// conditions are those of the entry itself.
func (l layout) conditions(header []byte) []condition {
	var list []condition
	inverse := header[l.flags+1]
	add := func(c condition, words string, inverted byte, value string) {
		operator := ""
		if inverse&inverted != 0 {
			operator = "!= "
			if c.limits != nil {
				c.limits = ofProtocols(c.limits.protocols.complement())
			}
		}
		c.text = words + " " + operator + value
		list = append(list, c)
	}
	n, names := l.address, 4*l.address
	name := map[Family]string{IPv4: "ip", IPv6: "ip6"}[l.family]
	for i, side := range []struct {
		words    string
		inverted byte
	}{{name + " saddr", invertSource}, {name + " daddr", invertDest}} {
		address, mask := header[i*n:(i+1)*n], header[(2+i)*n:(3+i)*n]
		if text := prefixText(address, mask); text != "" || inverse&side.inverted != 0 {
			add(condition{stable: true}, side.words, side.inverted, cmp.Or(text, anything))
		}
	}
	for i, side := range []struct {
		words    string
		inverted byte
		stable   bool
	}{{"iifname", invertIn, true}, {"oifname", invertOut, false}} {
		link := header[names+i*unix.IFNAMSIZ:][:unix.IFNAMSIZ]
		mask := header[names+(2+i)*unix.IFNAMSIZ:][:unix.IFNAMSIZ]
		if text := linkText(link, mask); text != "" || inverse&side.inverted != 0 {
			add(condition{stable: side.stable}, side.words, side.inverted, cmp.Or(text, anything))
		}
	}
	protocol := binary.NativeEndian.Uint16(header[l.protocol:])
	if protocol != 0 && (l.protocolFlag == 0 || header[l.flags]&l.protocolFlag != 0) {
		add(condition{stable: true, limits: ofProtocols(byteSetOf(uint8(protocol)))}, "meta l4proto", invertProto, vocabulary.Protocol(protocol).NFT())
	}
	if l.family == IPv4 && header[l.flags]&flagFragment != 0 {
		add(condition{}, "fragment", invertFragment, "1")
	}
	return list
}

// anything is what no condition asks for, unless it is inverted: no packet meets that.
const anything = "any"

// prefixText renders an address and its mask; empty for a mask of zero.
func prefixText(address, mask []byte) string {
	ones := 0
	for ; ones < 8*len(mask) && mask[ones/8]&(0x80>>(ones%8)) != 0; ones++ {
	}
	contiguous := true
	for i := ones; i < 8*len(mask); i++ {
		contiguous = contiguous && mask[i/8]&(0x80>>(i%8)) == 0
	}
	a, _ := netip.AddrFromSlice(address)
	m, _ := netip.AddrFromSlice(mask)
	switch {
	case !contiguous:
		return fmt.Sprintf("& %v == %v", m, a)
	case ones == 0:
		return ""
	case ones == 8*len(mask):
		return a.String()
	}
	return fmt.Sprintf("%v/%d", a, ones)
}

// linkText renders an interface's name and mask: a mask that does not cover the
// zero byte behind the name is how a wildcard is written.
func linkText(link, mask []byte) string {
	name := unix.ByteSliceToString(link)
	switch covered := len(strings.TrimRight(string(mask), "\x00")); {
	case covered == 0:
		return ""
	case covered <= len(name):
		return fmt.Sprintf("%q", name[:covered]+"*")
	}
	return fmt.Sprintf("%q", name)
}
