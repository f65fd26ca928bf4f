package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"verdictd/internal/vocabulary"
)

// Mark is a value and the bits that count: "0x1/0xff", or "0x1" where all do.
type Mark struct{ Value, Mask uint32 }

// MarshalText gives "0x1/0xff".
func (m Mark) MarshalText() ([]byte, error) {
	if m.Mask == 1<<32-1 {
		return fmt.Appendf(nil, "0x%x", m.Value), nil
	}
	return fmt.Appendf(nil, "0x%x/0x%x", m.Value, m.Mask), nil
}

// UnmarshalText reads what MarshalText gives, and decimal numbers.
func (m *Mark) UnmarshalText(text []byte) error {
	value, mask, masked := strings.Cut(string(text), "/")
	if !masked {
		mask = "0xffffffff"
	}
	a, okValue := number(value)
	b, okMask := number(mask)
	switch {
	case !okValue || !okMask:
		return fmt.Errorf("%q is no mark: write it like 0x1/0xff, or like 0x1 where all bits count", text)
	case a&^b != 0:
		return fmt.Errorf("%q has bits that the mask 0x%x has not: write 0x%x/0x%x or 0x%x/0x%x", text, b, a&b, b, a, a|b)
	case b == 0:
		return fmt.Errorf("%q has a mask without bits: name those that count", text)
	}
	m.Value, m.Mask = a, b
	return nil
}

// number is decimal or hexadecimal; 010, which is 8 to some and 10 to others, is none.
func number(text string) (uint32, bool) {
	digits, base := text, 10
	if after, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
		digits, base = after, 16
	} else if len(text) > 1 && text[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, base, 32)
	return uint32(n), err == nil
}

// CopyRange is a number of bytes, of which 0 is all of a packet (65,531 at most), or CopyAuto.
type CopyRange int64

// CopyAuto is as much as the policy in force looks at, and in memory alone no number.
const CopyAuto CopyRange = -1

// MarshalText gives "auto", or the number.
func (r CopyRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (r CopyRange) String() string {
	if r == CopyAuto {
		return "auto"
	}
	return strconv.FormatInt(int64(r), 10)
}

// UnmarshalText reads what MarshalText gives.
func (r *CopyRange) UnmarshalText(text []byte) error {
	if string(text) == CopyAuto.String() {
		*r = CopyAuto
		return nil
	}
	n, ok := number(string(text))
	if !ok {
		return fmt.Errorf("must be auto, or a whole number of bytes, not %q", text)
	}
	*r = CopyRange(n)
	return nil
}

// Range has the numbers from First to Last, both included: "64", or "64-1500".
type Range struct{ First, Last uint32 }

// MarshalText gives "64", or "64-1500".
func (r Range) MarshalText() ([]byte, error) {
	if r.First == r.Last {
		return strconv.AppendUint(nil, uint64(r.First), 10), nil
	}
	return fmt.Appendf(nil, "%d-%d", r.First, r.Last), nil
}

// UnmarshalText reads what MarshalText gives.
func (r *Range) UnmarshalText(text []byte) error {
	first, last, isRange := strings.Cut(string(text), "-")
	if !isRange {
		last = first
	}
	a, okFirst := number(first)
	b, okLast := number(last)
	switch {
	case !okFirst || !okLast:
		return fmt.Errorf(`%q is no number and no range of them: write it like "64" or "64-1500"`, text)
	case a > b:
		return fmt.Errorf("%d-%d begins above its end: write %d-%d", a, b, b, a)
	}
	r.First, r.Last = a, b
	return nil
}

// DSCP is a differentiated services code point, 0 to 63. Its text is a name where it has one.
type DSCP uint8

// maxDSCP is the highest of six bits.
const maxDSCP = 63

// dscps are the names that there are (RFC 2474, 2597, 3246, 5865 and 8622).
var dscps = func() map[string]DSCP {
	names := map[string]DSCP{"ef": 46, "voice-admit": 44, "le": 1}
	for class := range DSCP(8) {
		names["cs"+strconv.Itoa(int(class))] = class << 3
		for drop := DSCP(1); class >= 1 && class <= 4 && drop <= 3; drop++ {
			names[fmt.Sprintf("af%d%d", class, drop)] = class<<3 | drop<<1
		}
	}
	return names
}()

// MarshalText gives the name, or the number.
func (d DSCP) MarshalText() ([]byte, error) {
	for name, value := range dscps {
		if value == d {
			return []byte(name), nil
		}
	}
	return strconv.AppendUint(nil, uint64(d), 10), nil
}

// UnmarshalText reads what MarshalText gives.
func (d *DSCP) UnmarshalText(text []byte) error {
	if value, ok := dscps[strings.ToLower(string(text))]; ok {
		*d = value
		return nil
	}
	n, ok := number(string(text))
	if !ok || n > maxDSCP {
		return fmt.Errorf("%q is no code point: use ef, voice-admit, le, cs0 to cs7, af11 to af43, or a number from 0 to %d", text, maxDSCP)
	}
	*d = DSCP(n)
	return nil
}

// DNSType is the type of a question. Its text is a name where it has one here.
type DNSType uint16

// MarshalText gives the name, or the number.
func (d DNSType) MarshalText() ([]byte, error) { return []byte(vocabulary.DNSTypeName(uint16(d))), nil }

// UnmarshalText reads what MarshalText gives, and TYPE65 (RFC 3597).
func (d *DNSType) UnmarshalText(text []byte) error {
	n, err := vocabulary.ParseDNSType(string(text))
	*d = DNSType(n)
	return err
}

// Rate is a number of packets in a time: "100/s", "10/m" or "5/h".
type Rate struct {
	Packets int
	// Each is a second, a minute or an hour.
	Each time.Duration
}

const (
	// A bucket is filled in whole nanoseconds.
	maxRate = 100_000_000
)

var eaches = []struct {
	name string
	each time.Duration
}{{"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}}

// MarshalText gives "100/s".
func (r Rate) MarshalText() ([]byte, error) {
	for _, e := range eaches {
		if e.each == r.Each {
			return fmt.Appendf(nil, "%d/%s", r.Packets, e.name), nil
		}
	}
	return nil, fmt.Errorf("a rate in %v has no text", r.Each)
}

// UnmarshalText reads what MarshalText gives.
func (r *Rate) UnmarshalText(text []byte) error {
	packets, each, _ := strings.Cut(string(text), "/")
	n, ok := number(packets)
	for _, e := range eaches {
		if ok && e.name == each && n >= 1 && n <= maxRate {
			r.Packets, r.Each = int(n), e.each
			return nil
		}
	}
	return fmt.Errorf("%q is no rate: write packets in a second, minute or hour, like 100/s, 10/m or 5/h; at most %d", text, maxRate)
}

// Clock is a time of the day in minutes, at most 24:00.
type Clock int

// MarshalText gives "08:00".
func (c Clock) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%02d:%02d", c/60, c%60), nil }

// UnmarshalText reads what MarshalText gives.
func (c *Clock) UnmarshalText(text []byte) error {
	const end = "24:00"
	t, err := time.Parse("15:04", string(text))
	switch {
	case string(text) == end:
		*c = 24 * 60
	case err != nil || len(text) != len(end):
		return fmt.Errorf(`%q is no time of the day: write it like "08:00", "18:30" or "24:00", in quotes`, text)
	default:
		*c = Clock(t.Hour()*60 + t.Minute())
	}
	return nil
}

// Hex is bytes. Its text has two hexadecimal digits for each, and may have spaces or colons between them.
type Hex []byte

// MarshalText gives digits alone.
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

// UnmarshalText reads digits with spaces and colons between bytes, and "0x" before them.
func (h *Hex) UnmarshalText(text []byte) error {
	digits := strings.TrimPrefix(string(text), "0x")
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", ":", "").Replace(digits))
	if err != nil {
		return fmt.Errorf(`%q is no bytes: write two hexadecimal digits for each, like "0a0b", in quotes`, text)
	}
	*h = b
	return nil
}

// Interface is a device's name, or the beginning of one with a * behind it.
type Interface string

// maxInterface is the kernel's IFNAMSIZ without the end.
const maxInterface = 15

// Wildcard reports whether it stands for several names, and returns what these begin with.
func (i Interface) Wildcard() (begin string, ok bool) { return strings.CutSuffix(string(i), "*") }

// MarshalText gives the name.
func (i Interface) MarshalText() ([]byte, error) { return []byte(i), nil }

// UnmarshalText reads what MarshalText gives.
func (i *Interface) UnmarshalText(text []byte) error {
	*i = Interface(text)
	name, _ := i.Wildcard()
	switch {
	case len(text) == 0:
		return errors.New(`is empty: write a device's name like eth0, or "wg*" for all that begin so`)
	case len(name) > maxInterface:
		return fmt.Errorf("%q has more than the %d bytes that a device's name may have", text, maxInterface)
	case strings.Contains(name, "*"):
		return fmt.Errorf(`%q has a * that is not at its end: write it like "wg*"`, text)
	// dev_valid_name of net/core/dev.c.
	case name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r"):
		return fmt.Errorf("%q cannot be a device's name: leave out slashes, colons and spaces", text)
	}
	return nil
}
