package traffic

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

const testRun = 7

// packet is one payload of flow 0 to 2 in a run with bursts of 5 from 2 threads: thread 0 sends three, thread 1 two.
func packet(flow uint32, thread, seq uint16) []byte {
	b := make([]byte, 40)
	Header{Run: testRun, Flow: flow, Thread: thread, Seq: seq}.Put(b)
	return b
}

func burst(flow uint32) [][]byte {
	return [][]byte{packet(flow, 0, 0), packet(flow, 1, 0), packet(flow, 0, 1), packet(flow, 1, 1), packet(flow, 0, 2)}
}

func damaged() []byte {
	b := packet(0, 0, 0)
	b[len(b)-1] ^= 0x10
	return b
}

func ofRun(run uint32) []byte {
	b := make([]byte, 40)
	Header{Run: run}.Put(b)
	return b
}

func TestLedgerFindsWhatIsPlanted(t *testing.T) {
	b := burst(0)
	tests := []struct {
		name    string
		arrive  [][]byte
		want    Counts
		arrived int // of flow 0
	}{
		{"all in order", b, Counts{Delivered: 5}, 5},
		{"nothing", nil, Counts{}, 0},
		{"one lost", [][]byte{b[0], b[1], b[3], b[4]}, Counts{Delivered: 4}, 4},
		{"the threads in any order", [][]byte{b[1], b[3], b[0], b[2], b[4]}, Counts{Delivered: 5}, 5},
		{"one thread's packets swapped", [][]byte{b[2], b[0], b[1], b[3], b[4]}, Counts{Delivered: 5, Reordered: 1}, 5},
		{"one thread's packets reversed", [][]byte{b[4], b[2], b[0]}, Counts{Delivered: 3, Reordered: 2}, 3},
		{"one duplicated", [][]byte{b[0], b[0], b[1]}, Counts{Delivered: 2, Duplicated: 1}, 2},
		{"a late duplicate is not reordering", [][]byte{b[0], b[2], b[0]}, Counts{Delivered: 2, Duplicated: 1}, 2},
		{"duplicated twice", [][]byte{b[3], b[3], b[3]}, Counts{Delivered: 1, Duplicated: 2}, 1},
		{"corrupted", [][]byte{damaged(), b[1]}, Counts{Delivered: 1, Corrupted: 1}, 1},
		{"cut short", [][]byte{b[0][:30], b[0][:3], {}}, Counts{Corrupted: 3}, 0},
		{"another run's", [][]byte{ofRun(testRun + 1)}, Counts{Foreign: 1}, 0},
		{"a flow that was never sent", [][]byte{packet(3, 0, 0), packet(1<<31, 0, 0)}, Counts{Corrupted: 2}, 0},
		{"a thread that does not exist", [][]byte{packet(0, 2, 0)}, Counts{Corrupted: 1}, 0},
		{"more packets than the thread sends", [][]byte{packet(0, 1, 2), packet(0, 0, 3), packet(0, 0, 65535)},
			Counts{Corrupted: 3}, 0},
		{"flows do not mix", append(burst(1), burst(2)...), Counts{Delivered: 10}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLedger(testRun, 3, 5, 2)
			for _, p := range tt.arrive {
				l.Record(p, netip.AddrPort{})
			}
			if got := l.Counts(); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
			if got := l.Received(0); got != tt.arrived {
				t.Errorf("flow 0: %d arrived, want %d", got, tt.arrived)
			}
		})
	}
}

// A burst of more than 64 takes several words of the bit set; every packet must have a bit of its own.
func TestLedgerLargeBursts(t *testing.T) {
	const flows, size, threads = 3, 200, 3
	var all [][]byte
	for flow := range uint32(flows) {
		for i := range size {
			all = append(all, packet(flow, uint16(i%threads), uint16(i/threads)))
		}
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	l := NewLedger(testRun, flows, size, threads)
	for range 2 {
		for _, p := range all {
			l.Record(p, netip.AddrPort{})
		}
	}
	got := l.Counts()
	if got.Delivered != flows*size || got.Duplicated != flows*size || got.Corrupted != 0 {
		t.Errorf("%+v, want %d delivered and as many duplicated", got, flows*size)
	}
	if got.Reordered == 0 {
		t.Error("shuffled, but nothing counts as reordered")
	}
}

func TestLedgerFollowsSources(t *testing.T) {
	at := netip.MustParseAddrPort
	here, otherPort, otherHost, there := at("192.0.2.1:1024"), at("192.0.2.1:1025"), at("192.0.2.2:1024"),
		at("[2001:db8::1]:1024")
	for _, tt := range []struct {
		name string
		from [5]netip.AddrPort
		want uint64
	}{
		{"one source", [5]netip.AddrPort{here, here, here, here, here}, 0},
		{"another port", [5]netip.AddrPort{here, here, otherPort, here, here}, 1},
		{"another address", [5]netip.AddrPort{here, otherHost, otherHost, otherHost, otherHost}, 4},
		{"sources not known", [5]netip.AddrPort{}, 0},
	} {
		l := NewLedger(testRun, 3, 5, 2)
		l.Record(packet(1, 0, 0), there) // another flow may come from elsewhere
		for i, p := range burst(0) {
			l.Record(p, tt.from[i])
			l.Record(p, otherHost) // a duplicate is counted as such, wherever it came from
		}
		if got := l.Counts(); got.SourcesChanged != tt.want || got.Delivered != 6 || got.Duplicated != 5 {
			t.Errorf("%s: %+v, want %d from a changed source", tt.name, got, tt.want)
		}
		if got := l.Sources(); tt.from[0] == here && !slices.Equal(got, []netip.Addr{here.Addr(), there.Addr()}) {
			t.Errorf("%s: flows came from %v", tt.name, got)
		}
	}
}
