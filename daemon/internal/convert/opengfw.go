package convert

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

var (
	tcpOnly = []vocabulary.Protocol{6}
	udpOnly = []vocabulary.Protocol{17}
	tcpUDP  = []vocabulary.Protocol{6, 17}
)

// entry is a rule of OpenGFW's file (ruleset.ExprRule).
type entry struct {
	name, action, expr string
	log                bool
}

// OpenGFW converts rules of OpenGFW: a list in YAML. The error is about the file, and name stands for it there.
func OpenGFW(name string, data []byte, o *Options) (*Result, error) {
	documents, err := config.Syntax(name, data)
	if err != nil {
		return nil, err
	}
	var c collector
	for _, document := range documents.Docs {
		if document.Body == nil || document.Body.Type() == ast.CommentType {
			continue
		}
		list, ok := document.Body.(*ast.SequenceNode)
		if !ok {
			return nil, fmt.Errorf("%s:%d: is no list of rules: OpenGFW's files are one", name, document.Body.GetToken().Position.Line)
		}
		for _, node := range list.Values {
			c.opengfw(node, o)
		}
	}
	return c.end()
}

// opengfw converts one rule.
func (c *collector) opengfw(node ast.Node, o *Options) {
	c.result.Rules++
	s := &source{line: node.GetToken().Position.Line, name: fmt.Sprintf("rule %d", c.result.Rules)}
	if key := firstKey(node); key != nil {
		s.line = key.GetToken().Position.Line
	}
	e, err := readEntry(node)
	if e.name != "" {
		s.name = oneLine(e.name)
	}
	if err != nil {
		c.leave(s, err.Error())
		return
	}
	rules, err := s.opengfwRules(e, o)
	if err != nil {
		c.leave(s, err.Error())
		return
	}
	c.take(s, rules, 0)
}

func firstKey(node ast.Node) ast.Node {
	if m, ok := node.(*ast.MappingNode); ok && len(m.Values) > 0 {
		return m.Values[0].Key
	}
	return nil
}

// readEntry reads a rule's keys. It gives the name where there is one, with an error too.
func readEntry(node ast.Node) (e entry, err error) {
	m, ok := node.(*ast.MappingNode)
	if !ok {
		return e, fmt.Errorf("is no section with name, action and expr")
	}
	seen := map[string]bool{}
	for _, v := range m.Values {
		key := v.Key.String()
		if seen[key] && err == nil {
			err = fmt.Errorf("the key %s is there twice", key)
		}
		seen[key] = true
		problem := error(nil)
		switch key {
		case "name":
			e.name, problem = text(v.Value)
		case "action":
			e.action, problem = text(v.Value)
		case "expr":
			e.expr, problem = text(v.Value)
		case "log":
			b, ok := v.Value.(*ast.BoolNode)
			if !ok {
				problem = fmt.Errorf("is neither true nor false")
			} else {
				e.log = b.Value
			}
		case "modifier":
			problem = fmt.Errorf("packets are not changed here")
		default:
			problem = fmt.Errorf("there is no such key in OpenGFW's rules")
		}
		if problem != nil && err == nil {
			err = fmt.Errorf("%s: %w", oneLine(key), problem)
		}
	}
	return e, err
}

func text(node ast.Node) (string, error) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	}
	return "", fmt.Errorf("is no text")
}

// opengfwRules is what becomes of a rule: one for what is known from headers and DNS over UDP, one for names over TCP.
func (s *source) opengfwRules(e entry, o *Options) ([]staged, error) {
	action, flow := vocabulary.Count, (*bool)(nil)
	yes := true
	switch strings.ToLower(e.action) {
	case "":
		if !e.log {
			return nil, fmt.Errorf("it has neither an action nor log, which OpenGFW refuses")
		}
	case "allow":
		action, flow = vocabulary.Accept, &yes
	case "block", "drop":
		action, flow = vocabulary.Drop, &yes
	case "modify":
		return nil, fmt.Errorf("action modify: packets are not changed here")
	default:
		return nil, fmt.Errorf("action %q: OpenGFW has allow, block, drop and modify", e.action)
	}
	found, err := s.expression(e.expr, o)
	if err != nil {
		return nil, err
	}
	if e.log {
		s.note(noteLog)
	}
	var list []staged
	for stage, p := range []*part{found.early, found.late} {
		if p == nil {
			continue
		}
		if p.size > maxSize {
			return nil, fmt.Errorf("it has too many ors within ands: split it")
		}
		answers := p.kinds&other == 0 && p.kinds&answer != 0
		if answers && p.directed && (action != vocabulary.Drop || p.kinds&question == 0) {
			return nil, fmt.Errorf("addresses and ports are those of a flow's first packet there, and answers go the other way: write dns.qr == false, or leave them out")
		}
		if p.waits() {
			s.note(notePending)
		}
		p = upper(p)
		if p.directed {
			p = p.and(notReply())
		}
		r := config.Rule{Name: s.name, Match: p.match, Action: action, Flow: flow}
		if e.log {
			r.Log = logged
		}
		list = append(list, staged{stage, r})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("it never matches")
	}
	return list, nil
}

// upper is a part for TCP and UDP alone, as OpenGFW looks at nothing else.
func upper(p *part) *part {
	m := &p.match
	if m.Protocols != nil || m.TLS != nil || m.QUIC != nil || m.HTTP != nil || m.DNS != nil {
		return p
	}
	return p.and(partOf(config.Match{Protocols: tcpUDP}, ofTCP|ofUDP))
}
