package config

import (
	"verdictd/internal/vocabulary"
)

const (
	maxBuckets = 1 << 22
	// What is written for each packet is a disk that is full.
	maxSampled = 10_000
)

// checkRule reports what is wrong with one rule, which is the value of key.
func (f *file) checkRule(key string, r *Rule, c *Config, sets map[string]vocabulary.SetType) {
	// Its absence must not read as accept.
	if action := key + ".action"; !f.has(action) {
		f.wrong(action, "is missing: write accept, drop, reject, requeue, repeat or count")
	}
	m := matchCheck{f, c, sets}
	m.check(key, &r.Match, 0)
	f.checkAct(key, r, c)
	f.checkLimit(key+".limit", r)
	f.between(key+".log", r.Log, 0, maxLoggedDrops)
	f.between(key+".sample", r.Sample, 0, maxSampled)
	if r.Sample > 0 && c.Policy.Samples.Directory == "" {
		f.wrong(key+".sample", "has no effect without policy.samples.directory: set that, or take it out")
	}
	if f.has(key+".pending") && !r.looksAtNames() {
		f.wrong(key+".pending", "has no effect: nothing of the rule depends on a name. Take it out")
	}
}

// checkAct is about what goes with the action.
func (f *file) checkAct(key string, r *Rule, c *Config) {
	queue, requeues := key+".queue", r.Action == vocabulary.Requeue
	switch {
	case f.isBad(key + ".action"):
		return
	case requeues && r.Queue == nil:
		f.wrong(queue, "is missing: name the queue that packets go to")
	case !requeues && r.Queue != nil:
		f.wrong(queue, "has no effect with action %v: write requeue, or take it out", r.Action)
	case requeues:
		f.checkRequeue(queue, *r.Queue, c)
	}
	if dropped := r.Action == vocabulary.Drop || r.Action == vocabulary.Reject; dropped && r.SetMark != nil {
		f.wrong(key+".set_mark", "has no effect with action %v: nothing sees the packet any more. Take it out", r.Action)
	}
	if r.Flow != nil && *r.Flow {
		switch r.Action {
		case vocabulary.Count:
			f.wrong(key+".flow", "true does not go with count, which is no verdict: set it to false, or take it out")
		case vocabulary.Requeue, vocabulary.Repeat:
			f.wrong(key+".flow", "true does not go with %v, which has to be done for each packet: set it to false", r.Action)
		}
	}
}

// checkRequeue reports queues that bring a packet back.
func (f *file) checkRequeue(key string, n uint16, c *Config) {
	first, last := int(c.Queues.First), int(c.Queues.First)+c.Queues.Count-1
	gate := int(c.Guard.FirstQueue)
	threads, _ := c.gateThreads()
	switch q := int(n); {
	case q >= first && q <= last:
		f.wrong(key, "%d is one of the daemon's own (queues.first and queues.count, %d to %d): packets would come back for ever. Name another program's", q, first, last)
	case c.Guard.Mode != vocabulary.GuardOff && q >= gate && q < gate+2*threads:
		f.wrong(key, "%d is one of the gate's (guard.first_queue): name another program's", q)
	}
}

func (f *file) checkLimit(key string, r *Rule) {
	l := r.Limit
	if l == nil || f.isBad(key) {
		return
	}
	if !f.has(key + ".rate") {
		f.wrong(key+".rate", "is missing: write packets in a second, minute or hour, like 100/s")
	}
	f.between(key+".burst", l.Burst, 0, maxRate)
	f.between(key+".ipv4", l.IPv4, 1, 32)
	f.between(key+".ipv6", l.IPv6, 1, 128)
	f.between(key+".entries", l.Entries, 1, maxBuckets)
	addresses := l.Per == vocabulary.LimitSource || l.Per == vocabulary.LimitDestination
	for _, bits := range []string{".ipv4", ".ipv6"} {
		if f.has(key+bits) && !addresses {
			f.wrong(key+bits, "has no effect with per: %s: write source or destination, or take it out", l.Per)
		}
	}
	switch {
	case l.Per == vocabulary.LimitRule && f.has(key+".entries"):
		f.wrong(key+".entries", "has no effect with per: rule, which is one bucket: take it out")
	case l.Per == vocabulary.LimitEntry && len(r.References()) == 0:
		f.wrong(key+".per", "entry is one of a set, and the rule names none: write %sNAME into a list, or another per", setPrefix)
	}
}
