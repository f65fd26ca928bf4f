package reassembly

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func newPool(t testing.TB, cfg Config) *Pool {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestConfig(t *testing.T) {
	for cfg, problems := range map[Config]int{
		{Flows: 1, Bytes: 1, Packets: 1, Age: 1}: 0,
		{}:                                       4,
		{Flows: 1 << 21, Bytes: -1, Packets: 65, Age: 1}:      3,
		{Flows: 1 << 20, Bytes: 1 << 21, Packets: 64, Age: 9}: 1,
	} {
		if problems == 0 {
			newPool(t, cfg)
		} else if _, err := New(cfg); err == nil || strings.Count(err.Error(), "\n") != problems-1 {
			t.Errorf("%+v: %v, want %d problems", cfg, err, problems)
		}
	}
}

func TestPiecesInAnyOrder(t *testing.T) {
	want := []byte("the quick brown fox jumps over the lazy dog")
	random := rand.New(rand.NewPCG(1, 2))
	p := newPool(t, Config{Flows: 1, Bytes: 100, Packets: 64, Age: 1})
	for range 1000 {
		i, _ := p.Open(0, 0)
		order := random.Perm(len(want))
		for n, at := range order[:min(len(order), 60)] {
			to := min(len(want), at+1+random.IntN(20))
			p.Add(i, int64(at), want[at:to])
			if got := p.Bytes(i); !bytes.HasPrefix(want, got) {
				t.Fatalf("after %d pieces: %q", n, got)
			}
		}
		if got := p.Bytes(i); !bytes.Equal(got, want) {
			t.Fatalf("%q, want %q", got, want)
		}
		p.Close(i)
	}
	if p.Counters.Conflicts != 0 {
		t.Errorf("%d conflicts", p.Counters.Conflicts)
	}
}

func TestFirstCopyWins(t *testing.T) {
	p := newPool(t, Config{Flows: 1, Bytes: 100, Packets: 64, Age: 1})
	i, _ := p.Open(0, 0)
	p.Add(i, 2, []byte("cd"))
	p.Add(i, 6, []byte("gh"))
	if p.Counters.Conflicts != 0 {
		t.Error("a conflict before there was one")
	}
	p.Add(i, 0, []byte("ABCDEFGHI"))
	if got := string(p.Bytes(i)); got != "ABcdEFghI" {
		t.Errorf("%q", got)
	}
	if p.Counters.Conflicts != 1 {
		t.Errorf("%d conflicts, want 1", p.Counters.Conflicts)
	}
}

func TestBounds(t *testing.T) {
	p := newPool(t, Config{Flows: 2, Bytes: 10, Packets: 5, Age: 100})
	a, evicted := p.Open(7, 1)
	if evicted != None {
		t.Errorf("%d was evicted of an empty pool", evicted)
	}
	b, _ := p.Open(8, 2)
	// Bytes.
	if p.Add(b, 8, []byte("ijklm")); p.Full(b) {
		t.Error("full with two bytes")
	}
	if grown := p.Add(b, -2, []byte("yzabcdefgh")); !grown || string(p.Bytes(b)) != "abcdefghij" || !p.Full(b) {
		t.Errorf("%v, %q, full %v", grown, p.Bytes(b), p.Full(b))
	}
	// Packets: those out of the bounds, too.
	for _, at := range []int64{10, -9, 1 << 40, -1 << 40} {
		if p.Add(a, at, []byte("x")) || p.Full(a) {
			t.Errorf("a byte at %d grows it, or it is full", at)
		}
	}
	p.Add(a, 1, []byte("x"))
	if p.Add(a, 0, []byte("x")); !p.Full(a) || len(p.Bytes(a)) > 0 {
		t.Errorf("a sixth packet counts: %q", p.Bytes(a))
	}
	// Flows.
	if _, evicted := p.Open(9, 50); evicted != 7 || p.Used() != 2 {
		t.Errorf("%d was evicted, %d used", evicted, p.Used())
	}
	// Time.
	if owner := p.Expire(102); owner != None {
		t.Errorf("%d expired at its age", owner)
	}
	if owner := p.Expire(103); owner != 8 || p.Used() != 1 {
		t.Errorf("%d expired, want 8", owner)
	}
	if p.Expire(103) != None || p.Expire(151) != 9 || p.Expire(1000) != None || p.Used() != 0 {
		t.Error("the second did not expire alone")
	}
	want := Counters{Opened: 3, Evicted: 1, Expired: 2, Useless: 4}
	if p.Counters != want {
		t.Errorf("%+v, want %+v", p.Counters, want)
	}
}

func TestConsume(t *testing.T) {
	p := newPool(t, Config{Flows: 2, Bytes: 10, Packets: 3, Age: 100})
	i, _ := p.Open(1, 0)
	p.Open(2, 50)
	p.Add(i, 0, []byte("abcd"))
	p.Add(i, 6, []byte("gh"))
	p.Consume(i, 2, 60)
	if got := string(p.Bytes(i)); got != "cd" || p.Full(i) {
		t.Errorf("%q", got)
	}
	p.Add(i, 2, []byte("ef"))
	if got := string(p.Bytes(i)); got != "cdefgh" {
		t.Errorf("%q", got)
	}
	p.Consume(i, 8, 70) // two bytes more than there are
	if !p.Empty(i) {
		t.Errorf("%q", p.Bytes(i))
	}
	if p.Expire(151) != 2 || p.Expire(170) != None || p.Expire(171) != 1 {
		t.Error("what was consumed is not the newest")
	}
}

// model is what a Pool's flow is meant to be.
type model struct {
	value   []byte
	there   []bool
	packets int
}

func (m *model) bytes() []byte {
	n := slices.Index(m.there, false)
	if n < 0 {
		n = len(m.there)
	}
	return m.value[:n]
}

func (m *model) add(cfg Config, at int64, data []byte) {
	if m.packets >= cfg.Packets {
		return
	}
	m.packets++
	for n, c := range data {
		if place := at + int64(n); place >= 0 && place < int64(cfg.Bytes) && !m.there[place] {
			m.value[place], m.there[place] = c, true
		}
	}
}

func (m *model) consume(n int) {
	n = min(n, len(m.there))
	m.value = append(m.value[n:], make([]byte, n)...)
	m.there = append(m.there[n:], make([]bool, n)...)
	m.packets = 0
	for i, there := range m.there {
		if there && (i == 0 || !m.there[i-1]) {
			m.packets++
		}
	}
}

// FuzzPool plays a program of opens, pieces, consumes and ends, of five bytes each.
func FuzzPool(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		program := make([]byte, 5*40)
		for i := range program {
			program[i] = byte(random.Uint32())
		}
		f.Add(program)
	}
	cfg := Config{Flows: 3, Bytes: 48, Packets: 12, Age: 40}
	f.Fuzz(func(t *testing.T, program []byte) {
		p := newPool(t, cfg)
		models, buffers := map[int32]*model{}, map[int32]int32{}
		drop := func(owner int32) { delete(models, owner); delete(buffers, owner) }
		now := int64(0)
		for step := range slices.Chunk(program, 5) {
			if len(step) < 5 {
				break
			}
			now += int64(step[4] % 8)
			owner := int32(step[1] % 5)
			i, open := buffers[owner]
			switch op := step[0] % 16; {
			case !open:
				i, evicted := p.Open(owner, now)
				drop(evicted)
				buffers[owner], models[owner] = i, &model{value: make([]byte, cfg.Bytes), there: make([]bool, cfg.Bytes)}
			case op == 0:
				p.Close(i)
				drop(owner)
			case op == 1:
				p.Consume(i, int(step[2])%60, now)
				models[owner].consume(int(step[2]) % 60)
			case op == 2:
				p.Reset(i)
				clear(models[owner].there)
			default:
				data := bytes.Repeat(step[4:], int(step[3])%32)
				p.Add(i, int64(int8(step[2])), data)
				models[owner].add(cfg, int64(int8(step[2])), data)
			}
			for owner := p.Expire(now); owner != None; owner = p.Expire(now) {
				drop(owner)
			}
			if p.Used() != len(models) || p.Used() > cfg.Flows {
				t.Fatalf("%d buffers used, want %d", p.Used(), len(models))
			}
			for owner, m := range models {
				i := buffers[owner]
				if got := p.Bytes(i); !bytes.Equal(got, m.bytes()) || p.Empty(i) != !slices.Contains(m.there, true) {
					t.Fatalf("owner %d has %q, want %q", owner, got, m.bytes())
				}
			}
		}
	})
}
