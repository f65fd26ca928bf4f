package logs

import (
	"encoding/binary"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/names"
	"verdictd/internal/vocabulary"
)

// Drops logs packets until it is stopped: those that were dropped, so many a second at
// most, and those of rules that log, as many of each as it says. It tells how many there
// were besides.
type Drops struct {
	log     *slog.Logger
	next    func() (engine.Noted, bool)
	most    func() int
	end     chan struct{}
	ended   sync.WaitGroup
	second  int64 // since 1970
	logged  int   // in it
	omitted uint64
	rules   map[string]ofRule
}

// ofRule is what was logged of a rule in the second of now, and what was not.
type ofRule struct {
	logged  int
	omitted uint64
}

// dropsEvery is how often dropped packets are looked for.
const dropsEvery = 100 * time.Millisecond

// StartDrops logs what next tells of. most, of dropped packets, is asked for again and again.
func StartDrops(log *slog.Logger, next func() (engine.Noted, bool), most func() int) *Drops {
	d := &Drops{log: log, next: next, most: most, end: make(chan struct{}), rules: map[string]ofRule{}}
	d.ended.Go(d.run)
	return d
}

// Stop logs what has been dropped until now, and ends it.
func (d *Drops) Stop() {
	close(d.end)
	d.ended.Wait()
}

func (d *Drops) run() {
	ticker := time.NewTicker(dropsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-d.end:
			d.turn(time.Now())
			d.tellOmitted()
			return
		case now := <-ticker.C:
			d.turn(now)
		}
	}
}

// turn logs what there is.
func (d *Drops) turn(now time.Time) {
	if now.Unix() != d.second {
		d.tellOmitted()
		d.second, d.logged = now.Unix(), 0
	}
	for {
		p, ok := d.next()
		if !ok {
			return
		}
		if p.ByRule {
			d.ofRule(&p)
			continue
		}
		d.omitted += p.More
		if d.logged >= d.most() {
			d.omitted++
			continue
		}
		d.logged++
		d.log.Info("dropped", attributes(&p)...)
	}
}

// ofRule logs a packet of a rule that logs.
func (d *Drops) ofRule(p *engine.Noted) {
	of := d.rules[p.Rule]
	of.omitted += p.More
	if of.logged >= p.Most {
		of.omitted++
	} else {
		of.logged++
		d.log.Info("rule", append([]any{"action", p.Action.String()}, attributes(p)...)...)
	}
	d.rules[p.Rule] = of
}

// tellOmitted says how many packets were not logged.
func (d *Drops) tellOmitted() {
	for _, rule := range slices.Sorted(maps.Keys(d.rules)) {
		if n := d.rules[rule].omitted; n > 0 {
			d.log.Info("more packets of a rule than it logs", "rule", rule, "packets", n)
		}
	}
	clear(d.rules)
	if d.omitted > 0 {
		d.log.Info("more packets were dropped than are logged (log.drops)", "packets", d.omitted)
		d.omitted = 0
	}
}

// attributes describe a packet.
func attributes(p *engine.Noted) []any {
	list := []any{"queue", p.Queue, "rule", p.Rule, "bytes", p.Bytes}
	if p.State != names.More {
		list = append(list, "name_state", p.State.String())
	}
	if name := p.Name(); name != "" {
		list = append(list, "name", name)
	}
	if p.InDev != 0 {
		list = append(list, "in", p.InDev)
	}
	if p.OutDev != 0 {
		list = append(list, "out", p.OutDev)
	}
	var source, destination netip.Addr
	switch k := &p.Key; k[0] {
	case 4:
		source, destination = netip.AddrFrom4([4]byte(k[4:8])), netip.AddrFrom4([4]byte(k[20:24]))
	case 6:
		source, destination = netip.AddrFrom16([16]byte(k[4:20])), netip.AddrFrom16([16]byte(k[20:36]))
	default:
		return list
	}
	protocol := p.Key[1]
	list = append(list, "protocol", vocabulary.Protocol(protocol))
	if vocabulary.HasPorts(protocol) {
		return append(list, "source", netip.AddrPortFrom(source, binary.BigEndian.Uint16(p.Key[36:])),
			"destination", netip.AddrPortFrom(destination, binary.BigEndian.Uint16(p.Key[38:])))
	}
	return append(list, "source", source, "destination", destination)
}
