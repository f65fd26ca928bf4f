package policy

import (
	"strings"
	"time"
)

// clock is the condition on the time of day. Its answer holds for a minute, which no zone
// divides.
func (c *compiler) clock(m *Match) []condition {
	if len(m.Times) == 0 {
		return nil
	}
	c.needs.Unix = true
	slot := c.clocks
	c.clocks++
	return []condition{{
		key: "time",
		holds: func(d *Decider) Value {
			a := &d.clocks[slot]
			if minute := d.in.Unix / 60; a.minute != minute || !a.known {
				*a = answer{minute: minute, known: true}
				for i := range m.Times {
					a.found = a.found || m.Times[i].has(d.in.Unix)
				}
			}
			return valueOf(a.found)
		},
		has: func(d *Decider) string {
			var list []string
			for _, t := range m.Times {
				list = append(list, t.local(d.in.Unix).Format("Mon 15:04 MST"))
			}
			return strings.Join(list, ", ")
		},
	}}
}

// answer is that of a minute since 1970.
type answer struct {
	minute       int64
	known, found bool
}

func (t *TimeOfDay) local(unix int64) time.Time {
	zone := t.Zone
	if zone == nil {
		zone = time.UTC
	}
	return time.Unix(unix, 0).In(zone)
}

// has reports whether a second is in it.
func (t *TimeOfDay) has(unix int64) bool {
	local := t.local(unix)
	hour, minute, second := local.Clock()
	now := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second
	on := func(day time.Weekday) bool { return t.Days == [7]bool{} || t.Days[day] }
	today, yesterday := local.Weekday(), (local.Weekday()+6)%7
	if t.From < t.To {
		return on(today) && t.From <= now && now < t.To
	}
	return on(today) && t.From <= now || on(yesterday) && now < t.To
}
