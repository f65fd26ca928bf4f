package replay

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/policy"
	"verdictd/internal/nfq"
	"verdictd/internal/packet"
	"verdictd/internal/statistics"
	"verdictd/internal/vocabulary"
)

// Schema is the version of the document.
const Schema = 1

// Config says what is played.
type Config struct {
	Judgement engine.Judgement
	// Capture is a file. Hook is where the daemon would have the packets.
	Capture string
	Hook    vocabulary.Hook
	// Explain adds to each flow how its first verdict came about.
	Explain bool
}

// Result is what `verdictd test --json` writes.
type Result struct {
	Schema  int    `json:"schema"`
	Version string `json:"version"`
	Config  string `json:"config"`
	Capture string `json:"capture"`
	Hook    string `json:"hook"`
	// Packets is how many were judged. Skipped have no IP header, Truncated were cut by the capture,
	// and Undecodable are packets whose headers could not be decoded.
	Packets     int `json:"packets"`
	Skipped     int `json:"skipped"`
	Truncated   int `json:"truncated"`
	Undecodable int `json:"undecodable"`
	// Flows are in the order of their first packets. One with several verdicts is there several times.
	Flows []Flow `json:"flows"`
	// Rules are in their order; then what is by default, what waited for a name, and undecodable packets.
	Rules []statistics.Rule `json:"rules"`
	// Never are the names of rules that decided on no packet.
	Never []string `json:"never"`
}

// Flow is the packets of one flow that had the same verdict for the same reason.
type Flow struct {
	Action  string `json:"action"`
	Rule    string `json:"rule"` // "" where it has no name
	Flow    string `json:"flow"`
	Name    string `json:"name"`  // that the verdict is due to, with its protocol; "": none
	State   string `json:"state"` // of the name: none, known, hidden, too-long, more
	First   int    `json:"first"` // number of its first packet in the capture
	Packets int    `json:"packets"`
	// Why tells how the verdict on the first packet came about.
	Why []string `json:"why,omitempty"`
}

// Line is the flow as an expectation has it.
func (f *Flow) Line() string {
	text := fmt.Sprintf("%s %q %s", f.Action, f.Rule, f.Flow)
	if f.Name != "" {
		text += " " + f.Name
	}
	return fmt.Sprintf("%s packets=%d", text, f.Packets)
}

// player collects what becomes of packets.
type player struct {
	result  *Result
	replay  *engine.Replay
	explain bool
	flows   map[string]int // place in result.Flows, by Action, Rule, Flow and Name
	clients map[packet.Key]string
	rules   []statistics.Rule
}

// Run plays the capture.
func Run(c *Config) (*Result, error) {
	p := &player{
		result: &Result{
			Schema: Schema, Capture: c.Capture, Hook: string(c.Hook), Flows: []Flow{}, Never: []string{},
		},
		explain: c.Explain, flows: map[string]int{}, clients: map[packet.Key]string{},
	}
	var err error
	if p.replay, err = engine.NewReplay(c.Judgement, p.judged); err != nil {
		return nil, err
	}
	p.rules = p.replay.Rules()
	devices, indices := map[uint32]string{}, map[string]uint32{}
	var began time.Time
	err = readCapture(c.Capture, func(one *captured) error {
		if one.bytes == nil {
			p.result.Skipped++
			return nil
		}
		if began.IsZero() {
			began = one.at
		}
		q := nfq.Packet{ID: uint32(one.number), Hook: uint8(c.Hook.Number()), Payload: one.bytes}
		if one.length > len(one.bytes) {
			q.CapLen = uint32(one.length)
			p.result.Truncated++
		}
		if one.device != "" {
			if indices[one.device] == 0 {
				indices[one.device] = uint32(len(indices) + 1)
				devices[indices[one.device]] = one.device
				c.Judgement.Policy.SetDevices(devices)
			}
			q.InDev, q.OutDev = deviceOf(c.Hook, indices[one.device])
		}
		p.result.Packets++
		return p.replay.Judge(&q, 1+max(0, one.at.Sub(began).Nanoseconds()), one.at.Unix())
	})
	if err != nil {
		return nil, err
	}
	if err := p.replay.End(); err != nil {
		return nil, err
	}
	p.result.Rules = p.replay.Rules()
	for i := range p.result.Rules[:c.Judgement.Policy.Rules()] {
		if r := &p.result.Rules[i]; r.Packets == 0 {
			p.result.Never = append(p.result.Never, r.Name)
		}
	}
	return p.result, nil
}

// deviceOf is which of a packet's two devices the one that it was captured at is.
func deviceOf(hook vocabulary.Hook, device uint32) (in, out uint32) {
	switch hook {
	case vocabulary.HookOutput, vocabulary.HookPostrouting:
		return 0, device
	}
	return device, 0
}

// judged counts a packet to its flow.
func (p *player) judged(j *engine.Judged) {
	f := Flow{
		Action: j.Verdict.Action.String(), Rule: p.rules[j.Rule].Name, Flow: p.flow(j.Input.View), First: int(j.ID),
	}
	if j.Verdict.Pending {
		f.Action = "pending " + f.Action
	}
	if v := j.Input.View; v.Version != 0 {
		f.Name, f.State = nameOf(j.Input), j.Input.Name.State.String()
	} else {
		p.result.Undecodable++
	}
	key := strings.Join([]string{f.Action, f.Rule, f.Flow, f.Name}, "\x00")
	at, known := p.flows[key]
	if !known {
		if p.explain {
			f.Why = Explain(p.replay, j)
		}
		at = len(p.result.Flows)
		p.flows[key] = at
		p.result.Flows = append(p.result.Flows, f)
	}
	p.result.Flows[at].Packets++
}

// flow is a packet's flow as text, the same for both directions: as its first packet has it.
func (p *player) flow(v *packet.View) string {
	if v.Version == 0 {
		return "undecodable"
	}
	var key packet.Key
	v.Key(&key)
	if text, ok := p.clients[key]; ok {
		return text
	}
	text := flowText(v)
	p.clients[key] = text
	// The other direction has a key of its own.
	p.clients[reversed(v)] = text
	return text
}

// reversed is the key of the other direction. ICMP's has types of its own, and is left alone.
func reversed(v *packet.View) (k packet.Key) {
	v.Key(&k)
	of := k
	copy(k[4:20], of[20:36])
	copy(k[20:36], of[4:20])
	if v.HasPorts() {
		copy(k[36:38], of[38:40])
		copy(k[38:40], of[36:38])
	}
	return k
}

func flowText(v *packet.View) string {
	name := vocabulary.Protocol(v.Protocol)
	if !v.HasPorts() {
		return fmt.Sprintf("%v %v > %v", name, v.Src(), v.Dst())
	}
	return fmt.Sprintf("%v %v > %v", name, netip.AddrPortFrom(v.Src(), v.SrcPort), netip.AddrPortFrom(v.Dst(), v.DstPort))
}

// nameOf is the name that a verdict is due to, with the protocol that it was found in.
func nameOf(in *policy.Input) string {
	r := &in.Name
	switch r.State {
	case names.Known:
		return r.Protocol.String() + "=" + string(r.Name)
	case names.Hidden:
		return r.Protocol.String() + "=" + string(r.Name) + ",hidden"
	case names.TooLong:
		return r.Protocol.String() + "=" + r.State.String()
	}
	return ""
}
