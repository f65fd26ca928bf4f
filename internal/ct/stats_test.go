package ct

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Answers of Linux 6.18 on two CPUs after 150 clashes and two ICMP errors.
var recorded = []string{
	"2400000005010200bf37edcde23f0000" + "00000000" +
		"0800010000000032" + "0800020000040000",
	"6400000004010200c037edcde23f0000" + "00000000" +
		"0800020000000000" + "0800040000000000" + "0800080000000000" + "0800090000000000" +
		"08000a0000000000" + "08000b0000000000" + "08000c0000000002" + "08000d0000000000" +
		"08000e0000000060" + "08000f0000000000",
	"6400000004010200c037edcde23f0000" + "00000001" +
		"0800020000000000" + "0800040000000000" + "0800080000000000" + "0800090000000000" +
		"08000a0000000000" + "08000b0000000000" + "08000c0000000000" + "08000d0000000000" +
		"08000e0000000036" + "08000f0000000000",
}

func message(t testing.TB, text string) netlink.Message {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	var m netlink.Message
	if err := m.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDecodeRecorded(t *testing.T) {
	// The CPUs in the wrong order: they come out sorted.
	s, err := decode([]netlink.Message{message(t, recorded[0]), message(t, recorded[2]), message(t, recorded[1])})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Table{Entries: Value{50, true}, MaxEntries: Value{262144, true}}); s.Table != want {
		t.Errorf("table %+v, want %+v", s.Table, want)
	}
	if len(s.CPUs) != 2 || s.CPUs[0].CPU != 0 || s.CPUs[1].CPU != 1 {
		t.Fatalf("CPUs %+v, want 0 and 1", s.CPUs)
	}
	for i, clashes := range []uint64{96, 54} {
		if got := s.CPUs[i].Counters[ClashResolve]; got != (Value{clashes, true}) {
			t.Errorf("CPU %d: clash_resolve %v, want %d", i, got, clashes)
		}
	}
	total := s.Total()
	if total[ClashResolve].N != 150 || total[Error].N != 2 {
		t.Errorf("total %+v, want 150 clashes and 2 errors", total)
	}
	for _, c := range AllCounters() {
		if total[c].Sent == c.Gone() {
			t.Errorf("%v: sent is %v, want it of a counter that is not gone", c, total[c].Sent)
		}
	}
}

// A kernel before 5.10 sends neither clash_resolve nor chain_toolong; one before 4.18 no size of the table. That is
// not zero. A later kernel may send what has no name here.
func TestDecodeOtherKernels(t *testing.T) {
	old := message(t, recorded[1])
	old.Data = old.Data[:bytes.Index(old.Data, []byte{8, 0, byte(ClashResolve), 0})]
	oldTable := message(t, recorded[0])
	oldTable.Data = oldTable.Data[:len(oldTable.Data)-8]
	s, err := decode([]netlink.Message{oldTable, old})
	if err != nil {
		t.Fatal(err)
	}
	counters := s.CPUs[0].Counters
	if counters[ClashResolve].Sent || counters[ChainTooLong].Sent || !counters[SearchRestart].Sent {
		t.Errorf("decoded %+v, want clash_resolve and chain_toolong as not sent", counters)
	}
	if s.Table.MaxEntries.Sent || !s.Table.Entries.Sent {
		t.Errorf("decoded %+v, want max_entries as not sent", s.Table)
	}

	later := message(t, recorded[1])
	later.Data = append(bytes.Clone(later.Data), 8, 0, byte(numCounters), 0, 0, 0, 0, 9)
	if s, err = decode([]netlink.Message{later}); err != nil {
		t.Fatal(err)
	}
	if got, want := s.CPUs[0].Counters[ClashResolve].N, uint64(96); got != want {
		t.Errorf("clash_resolve %d beside an unknown attribute, want %d", got, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	cut := message(t, recorded[1])
	cut.Data = cut.Data[:3]
	short := message(t, recorded[1])
	short.Data = append(bytes.Clone(short.Data[:4]), 6, 0, byte(Found), 0, 1, 2, 0, 0) // a counter of 16 bits
	foreign := message(t, recorded[1])
	foreign.Header.Type++
	foreign.Header.Type++
	for name, messages := range map[string][]netlink.Message{
		"no CPU":              {message(t, recorded[0])},
		"a cut header":        {cut},
		"a short counter":     {short},
		"an unknown message":  {foreign},
		"nothing whatsoever":  nil,
		"a cut table message": {{Header: netlink.Header{Type: ctnetlinkType(msgGetStats)}}},
	} {
		if s, err := decode(messages); err == nil {
			t.Errorf("%s was decoded as %+v", name, s)
		}
	}
}

func TestMatch(t *testing.T) {
	request := netlink.Message{Header: netlink.Header{Sequence: 4, PID: 9}}
	if err := match([]netlink.Message{request}, []netlink.Message{request, request}); err != nil {
		t.Error(err)
	}
	for _, reply := range []netlink.Header{{Sequence: 3, PID: 9}, {Sequence: 4, PID: 8}} {
		if err := match([]netlink.Message{request}, []netlink.Message{{Header: reply}}); err == nil {
			t.Errorf("%+v passed for an answer to %+v", reply, request.Header)
		}
	}
}

func TestErrorsNameTheCure(t *testing.T) {
	for errno, cure := range map[unix.Errno]string{
		unix.EPERM:           "CAP_NET_ADMIN",
		unix.EINVAL:          "modprobe nf_conntrack_netlink",
		unix.EPROTONOSUPPORT: "modprobe nfnetlink",
	} {
		err := explain("read the statistics", &netlink.OpError{Op: "receive", Err: errno})
		if !errors.Is(err, errno) || !strings.Contains(err.Error(), cure) || !strings.Contains(err.Error(), "read the statistics") {
			t.Errorf("%q: want the operation, the cause %v and the cure %q", err, errno, cure)
		}
	}
	if err := explain("read", unix.EIO); err.Error() != "conntrack: read: "+unix.EIO.Error() {
		t.Errorf("%q: want no cure for an error that is not known", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range recorded {
		m := message(f, text)
		f.Add(uint8(m.Header.Type), m.Data)
	}
	f.Fuzz(func(t *testing.T, typ uint8, data []byte) {
		s, err := decode([]netlink.Message{{Header: netlink.Header{Type: ctnetlinkType(uint16(typ))}, Data: data}})
		if err != nil {
			return
		}
		if len(s.CPUs) != 1 || s.CPUs[0].CPU != int(binary.BigEndian.Uint16(data[2:])) {
			t.Errorf("decoded %+v from one message about a CPU", s.CPUs)
		}
		for c, v := range s.CPUs[0].Counters {
			if v.N>>32 != 0 || (v.N != 0 && !v.Sent) {
				t.Errorf("%v is %+v", Counter(c), v)
			}
		}
	})
}
