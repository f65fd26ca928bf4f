package policy

import (
	"fmt"
	"slices"

	"verdictd/internal/vocabulary"
)

// header are the conditions on what every packet's header has.
func (c *compiler) header(m *Match) (list []condition) {
	if len(m.Families) > 0 {
		var versions [7]bool
		for _, f := range m.Families {
			versions[version(f)] = true
		}
		list = append(list, condition{
			key:   "family",
			holds: func(d *Decider) Value { return valueOf(versions[d.in.View.Version]) },
			has:   func(d *Decider) string { return fmt.Sprintf("ipv%d", d.in.View.Version) },
			enter: func(c *chunk, rule int) { c.families(rule, versions) }, dimension: byFamily,
		})
	}
	if len(m.Protocols) > 0 {
		var protocols [256]bool
		for _, p := range m.Protocols {
			protocols[p] = true
		}
		list = append(list, condition{
			key:   "protocols",
			holds: func(d *Decider) Value { return valueOf(protocols[d.in.View.Protocol]) },
			has:   func(d *Decider) string { return vocabulary.Protocol(d.in.View.Protocol).String() },
			enter: func(c *chunk, rule int) { c.protocols(rule, m.Protocols) }, dimension: byProtocol,
		})
	}
	if m.Fragments != 0 {
		list = append(list, condition{
			key:   "fragment",
			holds: func(d *Decider) Value { return valueOf(m.Fragments&fragmentOf(d) != 0) },
			has: func(d *Decider) string {
				return map[Fragments]string{FragmentWhole: "whole", FragmentFirst: "first", FragmentLater: "later"}[fragmentOf(d)]
			},
		})
	}
	list = append(list, ranges("length", m.Lengths, func(d *Decider) (uint32, bool) { return uint32(d.in.View.TotalLen), true })...)
	list = append(list, ranges("ttl", m.TTLs, func(d *Decider) (uint32, bool) { return uint32(d.in.View.TTL), true })...)
	dscps := make([]Range, len(m.DSCPs))
	for i, n := range m.DSCPs {
		dscps[i] = Range{uint32(n), uint32(n)}
	}
	// The two bits behind it are for ECN.
	return append(list, ranges("dscp", dscps, func(d *Decider) (uint32, bool) { return uint32(d.in.View.TrafficClass >> 2), true })...)
}

// version is a family's number in the header.
func version(f vocabulary.Family) uint8 {
	if f == vocabulary.IPv6 {
		return 6
	}
	return 4
}

func fragmentOf(d *Decider) Fragments {
	switch v := d.in.View; {
	case !v.Fragment:
		return FragmentWhole
	case v.FragmentOffset == 0:
		return FragmentFirst
	}
	return FragmentLater
}

// ranges is a condition on a number, which a packet may have not.
func ranges(key string, wanted []Range, of func(d *Decider) (uint32, bool)) []condition {
	if len(wanted) == 0 {
		return nil
	}
	return []condition{{
		key: key,
		holds: func(d *Decider) Value {
			n, ok := of(d)
			return valueOf(ok && within(wanted, n))
		},
		has: func(d *Decider) string {
			n, ok := of(d)
			if !ok {
				return ""
			}
			return fmt.Sprint(n)
		},
	}}
}

func within(list []Range, n uint32) bool {
	for _, r := range list {
		if r.First <= n && n <= r.Last {
			return true
		}
	}
	return false
}

// about are the conditions on what the kernel tells beside the packet.
func (c *compiler) about(m *Match) (list []condition) {
	if len(m.Hooks) > 0 {
		list = append(list, condition{
			key:   "hooks",
			holds: func(d *Decider) Value { return valueOf(slices.Contains(m.Hooks, d.in.Hook)) },
			has:   func(d *Decider) string { return string(vocabulary.HookAt(uint32(d.in.Hook))) },
			enter: func(c *chunk, rule int) { c.hooks(rule, m.Hooks) }, dimension: byHook,
		})
	}
	list = append(list, marks("mark", m.Marks, func(d *Decider) uint32 { return d.in.Mark })...)
	list = append(list, marks("connmark", m.ConnMarks, func(d *Decider) uint32 { return d.in.ConnMark })...)
	list = append(list, ranges("uid", m.UIDs, func(d *Decider) (uint32, bool) { return d.in.UID, d.in.HasUID })...)
	list = append(list, ranges("gid", m.GIDs, func(d *Decider) (uint32, bool) { return d.in.GID, d.in.HasGID })...)
	if m.Conntrack != 0 {
		list = append(list, condition{
			key:   "conntrack",
			holds: func(d *Decider) Value { return valueOf(m.Conntrack&d.in.CT != 0) },
			has:   func(d *Decider) string { return d.in.CT.String() },
		})
	}
	n := &c.needs
	n.ConnMark = n.ConnMark || len(m.ConnMarks) > 0
	n.UIDGID = n.UIDGID || len(m.UIDs)+len(m.GIDs) > 0
	n.Conntrack = n.Conntrack || m.Conntrack != 0
	return list
}

func marks(key string, wanted []Masked, of func(d *Decider) uint32) []condition {
	if len(wanted) == 0 {
		return nil
	}
	return []condition{{
		key: key,
		holds: func(d *Decider) Value {
			mark := of(d)
			for _, w := range wanted {
				if mark&w.Mask == w.Value&w.Mask {
					return Yes
				}
			}
			return No
		},
		has: func(d *Decider) string { return fmt.Sprintf("%#x", of(d)) },
	}}
}
