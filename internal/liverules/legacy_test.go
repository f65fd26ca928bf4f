package liverules

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// A blob builds a table's entries.
type blob struct {
	layout
	bytes []byte
}

func (b *blob) extension(name string, revision byte, info []byte) []byte {
	e := make([]byte, align(extensionHeader+len(info)))
	binary.NativeEndian.PutUint16(e, uint16(len(e)))
	copy(e[extensionName:], name)
	e[extensionRev] = revision
	copy(e[extensionHeader:], info)
	return e
}

// add appends an entry and returns its offset.
func (b *blob) add(flags byte, matches []byte, target []byte) uint32 {
	header := make([]byte, b.size)
	header[b.flags] = flags
	binary.NativeEndian.PutUint16(header[b.offsets:], uint16(b.size+len(matches)))
	binary.NativeEndian.PutUint16(header[b.offsets+2:], uint16(b.size+len(matches)+len(target)))
	at := len(b.bytes)
	b.bytes = append(append(append(b.bytes, header...), matches...), target...)
	return uint32(at)
}

func (b *blob) standard(verdict int32) []byte {
	return b.extension("", 0, binary.NativeEndian.AppendUint32(nil, uint32(verdict)))
}

func (b *blob) error(name string) []byte { return b.extension(errorTarget, 0, append([]byte(name), 0)) }

// smallTable has a chain of the hook OUTPUT with three rules, and one of a user.
func smallTable(f Family) (legacyTable, layout) {
	b := &blob{layout: layoutOf(f)}
	t := legacyTable{name: "mangle", validHooks: 1 << 3}
	entry := b.size + align(extensionHeader+4)
	named := b.size + len(b.error("sub"))
	toSub := int32(4*entry + named)
	t.entry[3] = b.add(0, nil, b.standard(toSub)) // 1
	b.add(0, nil, b.standard(int32(2*entry)))     // 2: no target
	b.add(b.gotoFlag, nil, b.standard(toSub))     // 3
	t.underflow[3] = b.add(0, nil, b.standard(-1-verdictAccept))
	b.add(0, nil, b.error("sub"))
	b.add(0, b.extension("mark", 1, append(words(1, 0, 1, 0), 0)), b.extension("NFQUEUE", 3, words(5, 2, 1, 0)))
	b.add(0, nil, b.standard(-1-verdictQueue))
	b.add(0, nil, b.standard(-1-verdictReturn))
	b.add(0, nil, b.error(errorTarget))
	t.entries = b.bytes
	return t, b.layout
}

func TestLegacyWalk(t *testing.T) {
	for _, f := range []Family{IPv4, IPv6} {
		table, l := smallTable(f)
		chains, err := table.chains(l)
		if err != nil {
			t.Fatal(err)
		}
		if len(chains) != 2 || chains[0].name != "OUTPUT" || chains[1].name != "sub" || len(chains[0].rules) != 3 || len(chains[1].rules) != 3 {
			t.Fatalf("%s: chains %+v", f, chains)
		}
		output, sub := chains[0], chains[1]
		if *output.base != (base{vocabulary.HookOutput, -150}) || sub.base != nil {
			t.Errorf("%s: base chains %+v, %+v", f, output.base, sub.base)
		}
		for i, want := range []struct {
			outcomes outcome
			calls    string
		}{{goesOn, "sub"}, {goesOn, ""}, {handsOver, "sub"}} {
			if r := output.rules[i]; r.outcomes != want.outcomes || strings.Join(r.calls, " ") != want.calls || r.number != i+1 {
				t.Errorf("%s: rule %d: %+v, want %+v", f, i+1, r, want)
			}
		}
		if q := *sub.rules[0].queue; q != (QueueStatement{"NFQUEUE", 5, 6, false, true, FanoutBalance}) {
			t.Errorf("%s: %+v", f, q)
		}
		if q := *sub.rules[1].queue; q != (QueueStatement{"QUEUE", 0, 0, false, false, FanoutNone}) {
			t.Errorf("%s: %+v", f, q)
		}
		if got := matchText(sub.rules[0].conditions); got != "meta mark & 0x1 == 0x1" {
			t.Errorf("%s: match %q", f, got)
		}
	}
}

func TestLegacyPriority(t *testing.T) {
	for _, test := range []struct {
		table string
		hook  vocabulary.Hook
		want  int
	}{{"raw", vocabulary.HookOutput, -300}, {"mangle", vocabulary.HookInput, -150}, {"nat", vocabulary.HookPrerouting, -100}, {"nat", vocabulary.HookInput, 100}, {"filter", vocabulary.HookForward, 0}, {"security", vocabulary.HookInput, 50}} {
		if got := legacyPriority(test.table, test.hook); got != test.want {
			t.Errorf("%s %s: %d, want %d", test.table, test.hook, got, test.want)
		}
	}
}

func TestMalformedTables(t *testing.T) {
	change := func(at int, value uint16) func(*legacyTable, layout) {
		return func(t *legacyTable, l layout) { binary.NativeEndian.PutUint16(t.entries[l.offsets+at:], value) }
	}
	for name, spoil := range map[string]func(*legacyTable, layout){
		"cut":                      func(t *legacyTable, _ layout) { t.entries = t.entries[:len(t.entries)-1] },
		"no chain":                 func(t *legacyTable, _ layout) { t.validHooks = 0 },
		"target before the header": change(0, 8),
		"target behind the entry":  change(0, 0xfff0),
		"no way on":                change(2, 0),
		"next beyond the end":      change(2, 0xffff),
		"jump into the middle":     func(t *legacyTable, l layout) { t.entries[l.size+extensionHeader] += 8 },
		"target longer than the entry": func(t *legacyTable, l layout) {
			binary.NativeEndian.PutUint16(t.entries[l.size:], 0xffff)
		},
	} {
		for _, f := range []Family{IPv4, IPv6} {
			table, l := smallTable(f)
			spoil(&table, l)
			if _, err := table.chains(l); !errors.Is(err, errMalformed) {
				t.Errorf("%s, %s: %v, want %v", name, f, err, errMalformed)
			}
		}
	}
}

func FuzzLegacyTable(f *testing.F) {
	for _, family := range []Family{IPv4, IPv6} {
		table, _ := smallTable(family)
		f.Add(binary.LittleEndian.AppendUint32(nil, table.validHooks), table.entries, family == IPv6)
	}
	for _, b := range testkit.Recorded(f, "testdata/legacy.txt") {
		f.Add(b[:44], b[44:], false)
	}
	f.Fuzz(func(t *testing.T, info, entries []byte, six bool) {
		table := legacyTable{name: "mangle", entries: entries}
		for i, field := range []*uint32{
			&table.validHooks, &table.entry[0], &table.entry[1], &table.entry[2], &table.entry[3], &table.entry[4],
			&table.underflow[0], &table.underflow[1], &table.underflow[2], &table.underflow[3], &table.underflow[4],
		} {
			if 4*i+4 <= len(info) {
				*field = binary.LittleEndian.Uint32(info[4*i:])
			}
		}
		l := layoutOf(IPv4)
		if six {
			l = layoutOf(IPv6)
		}
		chains, err := table.chains(l)
		if err != nil {
			return
		}
		rules := 0
		for _, c := range chains {
			rules += len(c.rules)
		}
		if rules > len(entries)/l.size {
			t.Errorf("%d rules in %d bytes", rules, len(entries))
		}
		analyse(chains, tracked, true)
	})
}

// What the kernel gives, cut short and with each byte changed, is refused or
// read, but never too far.
func TestSpoiltRealTable(t *testing.T) {
	testkit.Namespace(t)
	commands(t, `
		iptables-legacy -t mangle -N sub
		iptables-legacy -t mangle -A OUTPUT -p udp -m multiport --dports 53,1000:2000 -j sub
		iptables-legacy -t mangle -A sub -m mark --mark 1/1 -j NFQUEUE --queue-balance 3:5`)
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	table, err := readLegacyTable(socket, unix.SOL_IP, "mangle")
	if err != nil {
		t.Fatal(err)
	}
	l := layoutOf(IPv4)
	if _, err := table.chains(l); err != nil {
		t.Fatal(err)
	}
	whole := table.entries
	for n := range whole {
		cut := table
		cut.entries = whole[:n:n]
		_, _ = cut.chains(l)
		changed := table
		for _, b := range []byte{0, 1, 0x7f, 0xff} {
			changed.entries = append([]byte(nil), whole...)
			changed.entries[n] = b
			_, _ = changed.chains(l)
		}
	}
}

// The tables that exist are those that somebody has used.
func TestNothingIsLoaded(t *testing.T) {
	testkit.Namespace(t)
	read(t)
	for _, p := range protocols {
		names, err := os.ReadFile(p.names)
		if err != nil {
			t.Fatal(err)
		}
		if len(names) > 0 {
			t.Errorf("%s has tables after reading: %q", p.program, names)
		}
	}
}
