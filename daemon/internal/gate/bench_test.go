package gate

import (
	"encoding/binary"
	"testing"
	"time"
)

// turns makes a function that takes a table through all that it does.
func turns(g *Table) func() {
	n, epoch := uint32(0), uint64(1)
	q := make([]Question, 64)
	p := Packet{Bytes: 100}
	packet := func(flow uint32) {
		n++
		p.Key, p.ID, p.Print = key(1), n, n
		binary.BigEndian.PutUint32(p.Key[8:], flow%100)
		p.Announced = n%50 == 0
		g.Packet(&p)
	}
	return func() {
		epoch++
		g.Begin(g.now+int64(3*time.Millisecond), epoch)
		flow := uint32(epoch)
		for i := range uint32(6) {
			packet(flow + i/3)
		}
		packet(flow / 7)
		g.Exempt(n, 0)
		g.Moved(3)
		for range 3 {
			for i := range q[:g.Questions(q)] {
				switch q[i].Tuple[11] % 3 {
				case 0:
					g.Answer(q[i].Flow, true)
				case 1:
					g.Answer(q[i].Flow, false)
				default:
					g.Unanswered(q[i].Flow)
				}
			}
		}
		g.Dropped(&p.Key, n)
		g.Refused(3, n)
		switch epoch % 5 {
		case 0:
			g.Join(epoch-1, epoch-2)
		default:
			g.Resolve(epoch - 2)
		}
		g.Expire(Judge(epoch%3), g.now)
		if epoch%90 < 5 {
			g.Darken(epoch%90 < 4)
		}
		if epoch%64 == 0 {
			g.Try()
			g.Drain()
		}
		g.Forget()
		g.Wait()
		g.Pending()
		g.Verdicts, g.Listed = g.Verdicts[:0], g.Listed[:0]
	}
}

// BenchmarkTable measures a packet of each kind, with the key made and its verdict
// taken.
func BenchmarkTable(b *testing.B) {
	q := make([]Question, 64)
	for _, bm := range []struct {
		name  string
		flows uint32
		step  func(g *Table, p *Packet)
	}{
		{"first", 1 << 16, func(g *Table, p *Packet) { g.Packet(p) }},
		{"first and 3 further, asked, confirmed", 1 << 16, func(g *Table, p *Packet) {
			g.Packet(p)
			for range 3 {
				p.ID++
				g.Packet(p)
			}
			for i := range q[:g.Questions(q)] {
				g.Answer(q[i].Flow, true)
			}
		}},
		{"passed", 1, func(g *Table, p *Packet) { g.Packet(p) }},
		{"announced", 1 << 16, func(g *Table, p *Packet) {
			p.Announced = true
			g.Packet(p)
		}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			cfg := Default()
			cfg.List = false
			g, err := New(cfg)
			if err != nil {
				b.Fatal(err)
			}
			g.Begin(1, 1)
			if bm.flows == 1 {
				k := key(1)
				k[8], k[9], k[10], k[11] = 0, 0, 0, 0
				g.Packet(&Packet{Key: k})
				g.Answer(g.find(&k), true)
			}
			p, flow, epoch := Packet{Bytes: 100}, uint32(0), uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				flow++
				p.Key, p.Announced = key(1), false
				binary.BigEndian.PutUint32(p.Key[8:], flow%bm.flows)
				p.ID, p.Print = flow, flow
				bm.step(g, &p)
				if len(g.Verdicts) >= 64 {
					g.Verdicts = g.Verdicts[:0]
					epoch++
					g.Begin(g.now+100, epoch)
					if bm.flows > 1 {
						g.Begin(g.now+int64(time.Millisecond), epoch)
						g.Resolve(epoch - 1)
						g.Forget()
					}
				}
			}
		})
	}
}
