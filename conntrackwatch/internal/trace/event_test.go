package trace

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sample writes into a struct clash as the object's types lay it out.
type sample struct {
	t     *testing.T
	clash *btf.Struct
	b     []byte
}

func newSample(t *testing.T) *sample {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	s := &sample{t: t}
	if err := spec.Types.TypeByName("clash", &s.clash); err != nil {
		t.Fatal(err)
	}
	s.b = make([]byte, s.clash.Size)
	return s
}

// at returns the bytes of a member, such as loser.original.src.
func (s *sample) at(path string) []byte {
	s.t.Helper()
	var typ btf.Type = s.clash
	offset := 0
names:
	for name := range strings.SplitSeq(path, ".") {
		in, ok := typ.(*btf.Struct)
		if !ok {
			s.t.Fatalf("%s: %v is no struct", path, typ)
		}
		for _, m := range in.Members {
			if m.Name == name {
				offset += int(m.Offset.Bytes())
				typ = btf.UnderlyingType(m.Type)
				continue names
			}
		}
		s.t.Fatalf("%s: no member %s", path, name)
	}
	size, err := btf.Sizeof(typ)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.b[offset : offset+size]
}

func (s *sample) number(path string, n uint64) {
	s.t.Helper()
	b := s.at(path)
	var all [8]byte
	binary.LittleEndian.PutUint64(all[:], n)
	copy(b, all[:])
}

// tuple sets a tuple; ports are big-endian as in a packet.
func (s *sample) tuple(path, src, dst string) Tuple {
	s.t.Helper()
	from, to := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	family := uint64(familyIPv4)
	if from.Addr().Is6() {
		family = familyIPv6
	}
	copy(s.at(path+".src"), from.Addr().AsSlice())
	copy(s.at(path+".dst"), to.Addr().AsSlice())
	binary.BigEndian.PutUint16(s.at(path+".src_port"), from.Port())
	binary.BigEndian.PutUint16(s.at(path+".dst_port"), to.Port())
	s.number(path+".family", family)
	s.number(path+".protocol", 17)
	return Tuple{Src: from, Dst: to, Protocol: 17}
}

func seconds(ns uint64) time.Time { return time.Unix(1000, int64(ns)) }

// Every member is written where the compiler put it, and has to be found where decode looks.
func TestLayout(t *testing.T) {
	s := newSample(t)
	if len(s.b) != clashSize {
		t.Fatalf("struct clash has %d bytes, clashSize is %d", len(s.b), clashSize)
	}
	for path, n := range map[string]uint64{
		"time": 7, "skb": 0xffff888000000100, "after": 0xffff888000000300,
		"loser.address": 0xffff888000000200, "loser.status": 0x10, "loser.mark": 21, "loser.zone": 22,
		"winner.address": 0xffff888000000300, "winner.status": 8, "winner.mark": 31, "winner.zone": 32,
		"netns": 4026531840, "mark": 0x40000000, "pid": 41, "tid": 42, "cpu": 3, "result": 1,
		"path": 1, "ctinfo": 2, "ctinfo_after": 3,
	} {
		s.number(path, n)
	}
	copy(s.at("comm"), "verdictd\x00rest")
	want := Clash{
		Time: seconds(7), Path: Resolver, Outcome: Adopted, After: 0xffff888000000300, CTInfo: 2, CTInfoAfter: 3,
		Mark: 0x40000000,
		SKB:  0xffff888000000100, CPU: 3, PID: 41, TID: 42, Command: "verdictd", Netns: 4026531840, Result: 1,
		Loser: Entry{
			Address: 0xffff888000000200, Status: 0x10, Mark: 21, Zone: 22,
			Original: s.tuple("loser.original", "192.0.2.1:1000", "192.0.2.2:53"),
			Reply:    s.tuple("loser.reply", "192.0.2.2:53", "192.0.2.9:1001"),
		},
		Winner: &Entry{
			Address: 0xffff888000000300, Status: 8, Mark: 31, Zone: 32,
			Original: s.tuple("winner.original", "[2001:db8::1]:1002", "[2001:db8::2]:54"),
			Reply:    s.tuple("winner.reply", "[2001:db8::2]:54", "[2001:db8::1]:1002"),
		},
	}
	got, err := decode(s.b, seconds)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}

	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"path":"confirm","outcome":"adopted"`, `"address":"0xffff888000000200"`, `"src":"192.0.2.1:1000"`,
		`"protocol":"udp"`,
		`"ctinfo":"NEW","ctinfo_after":"ESTABLISHED_REPLY"`, `"src":"[2001:db8::1]:1002"`, `"mark":1073741824`,
	} {
		if !bytes.Contains(text, []byte(part)) {
			t.Errorf("no %s in %s", part, text)
		}
	}
}

func TestOutcomes(t *testing.T) {
	const loser, winner = 0x200, 0x300
	for _, test := range []struct {
		name      string
		path      Path
		result    int32
		after     uint64
		winner    uint64
		status    uint64 // the winner's
		want      Outcome
		uncertain bool
		dying     bool
	}{
		{"adopted", Resolver, 1, winner, winner, 8, Adopted, false, false},
		{"another entry, with the same replies, adopted", Resolver, 1, 0x400, winner, 8, Adopted, false, false},
		{"inserted for replies", Resolver, 1, loser, winner, 8, ReplyOnly, false, false},
		{"dropped", Resolver, 0, loser, winner, 8, Dropped, false, false},
		{"dropped with a reason in the upper bits", Resolver, 0x20000, loser, winner, 8, Dropped, false, false},
		{"dropped, the winner dying", Resolver, 0, loser, winner, 8 | statusDying, Dropped, false, true},
		{"adopted, seen from outside", Confirm, 1, winner, winner, 8, Adopted, false, false},
		{"inserted for replies, seen from outside", Confirm, 1, loser, 0, 0, ReplyOnly, false, false},
		{"dropped, seen from outside", Confirm, 0, loser, 0, 0, Dropped, true, false},
		{"re-injection", Reinjection, 0, winner, winner, 8, Adopted, false, false},
		{"re-injection that cannot translate", Reinjection, -1, winner, winner, 8, Dropped, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSample(t)
			s.number("path", uint64(test.path))
			s.number("result", uint64(uint32(test.result)))
			s.number("loser.address", loser)
			s.number("winner.address", test.winner)
			s.number("winner.status", test.status)
			s.number("after", test.after)
			c, err := decode(s.b, seconds)
			if err != nil {
				t.Fatal(err)
			}
			if c.Outcome != test.want || c.Uncertain != test.uncertain || c.WinnerDying() != test.dying {
				t.Errorf("outcome %s, uncertain %v, winner dying %v", c.Outcome, c.Uncertain, c.WinnerDying())
			}
			if (c.Winner == nil) != (test.winner == 0) {
				t.Errorf("winner %v", c.Winner)
			}
		})
	}
}

func TestUndecodable(t *testing.T) {
	s := newSample(t)
	s.number("path", 9)
	for what, b := range map[string][]byte{"unknown path": s.b, "cut short": s.b[:clashSize-1], "empty": nil} {
		if c, err := decode(b, seconds); err == nil {
			t.Errorf("%s: decoded to %+v", what, c)
		}
	}
}
