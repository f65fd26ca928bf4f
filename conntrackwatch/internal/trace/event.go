package trace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"verdictd/internal/vocabulary"
)

// Path is where the kernel met a clash.
type Path uint8

// The paths, as in clash.bpf.c.
const (
	// Resolver is nf_ct_resolve_clash, called at confirm.
	Resolver Path = 1
	// Confirm is __nf_conntrack_confirm, looked at from outside.
	Confirm Path = 2
	// Reinjection is nf_conntrack_update, which a packet goes through that a queue gives back.
	Reinjection Path = 3
)

func (p Path) String() string {
	switch p {
	case Resolver, Confirm:
		return "confirm"
	case Reinjection:
		return "reinjection"
	}
	return fmt.Sprintf("path %d", uint8(p))
}

// MarshalText is for encoding/json.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Outcome is how a clash ended.
type Outcome string

// The outcomes.
const (
	// Adopted: the packet goes on with an entry that was in the table; its own is freed.
	Adopted Outcome = "adopted"
	// ReplyOnly: the loser's entry was inserted for the direction of replies, for one second (since 5.6).
	ReplyOnly Outcome = "reply-only"
	// Dropped: the kernel dropped the packet. At re-injection, where it had adopted the winner's entry and could
	// not translate the packet as that says.
	Dropped Outcome = "dropped"
)

// Tuple is one direction of an entry.
type Tuple struct {
	Src      netip.AddrPort      `json:"src"`
	Dst      netip.AddrPort      `json:"dst"`
	Protocol vocabulary.Protocol `json:"protocol"`
}

// Entry is a struct nf_conn.
type Entry struct {
	Address  Address `json:"address"` // 0: not known, and then nothing is
	Status   uint64  `json:"status"`
	Mark     uint32  `json:"mark"`
	Zone     uint32  `json:"zone"`
	Original Tuple   `json:"original"`
	Reply    Tuple   `json:"reply"`
}

// Address is one in the kernel's memory.
type Address uint64

func (a Address) String() string { return fmt.Sprintf("%#x", uint64(a)) }

// MarshalText is for encoding/json, many readers of which have no 64-bit numbers.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// CTInfo is the kernel's enum ip_conntrack_info: what the packet is to its entry.
type CTInfo uint8

func (c CTInfo) String() string {
	names := [...]string{"ESTABLISHED", "RELATED", "NEW", "ESTABLISHED_REPLY", "RELATED_REPLY", "5", "6", "UNTRACKED"}
	if int(c) >= len(names) {
		return fmt.Sprintf("%d", uint8(c))
	}
	return names[c]
}

// MarshalText is for encoding/json.
func (c CTInfo) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Clash is one clash.
type Clash struct {
	Time        time.Time `json:"time"`
	Path        Path      `json:"path"`
	Outcome     Outcome   `json:"outcome"`
	Uncertain   bool      `json:"uncertain,omitempty"` // dropped, but a clash need not be the reason
	Loser       Entry     `json:"loser"`
	Winner      *Entry    `json:"winner"`        // nil where it is not known
	After       Address   `json:"after"`         // the entry that the packet has in the end
	CTInfo      CTInfo    `json:"ctinfo"`        // before
	CTInfoAfter CTInfo    `json:"ctinfo_after"`  //
	Mark        uint32    `json:"mark"`          // the packet's
	SKB         Address   `json:"skb"`           //
	CPU         uint32    `json:"cpu"`           //
	PID         uint32    `json:"pid"`           // of the process
	TID         uint32    `json:"tid"`           // of the thread
	Command     string    `json:"command"`       // the thread's name
	Netns       uint32    `json:"netns"`         // inode of the network namespace; 0: the kernel has but one
	Result      int32     `json:"kernel_result"` // of the function
}

// As in clash.bpf.c; TestLayout compares them.
const (
	tupleSize = 40
	entrySize = 24 + 2*tupleSize
	clashSize = 24 + 2*entrySize + 24 + 8 + 16
)

const (
	statusDying = 1 << 9 // IPS_DYING

	familyIPv4 = 2
	familyIPv6 = 10

	verdictMask   = 0xff
	verdictAccept = 1
)

// decode reads a clash of the ring buffer. The kernel's clock is turned into time by toTime.
func decode(b []byte, toTime func(monotonic uint64) time.Time) (Clash, error) {
	if len(b) < clashSize {
		return Clash{}, fmt.Errorf("a clash of %d bytes is shorter than %d: the object is not this program's", len(b),
			clashSize)
	}
	order := binary.NativeEndian
	rest := b[24+2*entrySize:]
	c := Clash{
		Time:        toTime(order.Uint64(b)),
		SKB:         Address(order.Uint64(b[8:])),
		After:       Address(order.Uint64(b[16:])),
		Loser:       decodeEntry(b[24:]),
		Netns:       order.Uint32(rest),
		Mark:        order.Uint32(rest[4:]),
		PID:         order.Uint32(rest[8:]),
		TID:         order.Uint32(rest[12:]),
		CPU:         order.Uint32(rest[16:]),
		Result:      int32(order.Uint32(rest[20:])),
		Path:        Path(rest[24]),
		CTInfo:      CTInfo(rest[25]),
		CTInfoAfter: CTInfo(rest[26]),
	}
	command, _, _ := bytes.Cut(rest[32:48], []byte{0})
	c.Command = string(command)
	if winner := decodeEntry(b[24+entrySize:]); winner.Address != 0 {
		c.Winner = &winner
	}
	if c.Path != Resolver && c.Path != Confirm && c.Path != Reinjection {
		return Clash{}, fmt.Errorf("a clash of unknown %v: the object is not this program's", c.Path)
	}
	c.Outcome = outcome(c)
	c.Uncertain = c.Path == Confirm && c.Outcome == Dropped
	return c, nil
}

// outcome tells by what the kernel's function returned, and by the entry that the packet has in the end.
func outcome(c Clash) Outcome {
	switch {
	case c.Path == Reinjection && c.Result < 0, c.Path != Reinjection && c.Result&verdictMask != verdictAccept:
		return Dropped
	case c.After == c.Loser.Address:
		return ReplyOnly
	}
	return Adopted
}

func decodeEntry(b []byte) Entry {
	order := binary.NativeEndian
	return Entry{
		Address:  Address(order.Uint64(b)),
		Status:   order.Uint64(b[8:]),
		Mark:     order.Uint32(b[16:]),
		Zone:     order.Uint32(b[20:]),
		Original: decodeTuple(b[24:]),
		Reply:    decodeTuple(b[24+tupleSize:]),
	}
}

func decodeTuple(b []byte) Tuple {
	address := func(b []byte, family uint16) netip.Addr {
		switch family {
		case familyIPv4:
			return netip.AddrFrom4([4]byte(b[:4]))
		case familyIPv6:
			return netip.AddrFrom16([16]byte(b[:16]))
		}
		return netip.Addr{}
	}
	family := binary.NativeEndian.Uint16(b[36:])
	return Tuple{
		Src:      netip.AddrPortFrom(address(b, family), binary.BigEndian.Uint16(b[32:])),
		Dst:      netip.AddrPortFrom(address(b[16:], family), binary.BigEndian.Uint16(b[34:])),
		Protocol: vocabulary.Protocol(b[38]),
	}
}

// WinnerDying says whether the winner was about to go: the kernel adopts no such entry.
func (c Clash) WinnerDying() bool { return c.Winner != nil && c.Winner.Status&statusDying != 0 }
