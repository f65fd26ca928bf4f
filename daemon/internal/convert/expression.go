package convert

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"

	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

const (
	// maxExpression bounds what is parsed, in bytes: the parser goes into itself.
	maxExpression = 64 << 10
	// maxBrackets is how many may be within each other, and how many nots may follow each other.
	maxBrackets = 64
)

// translator turns an expression of OpenGFW into a condition.
type translator struct {
	*source
	options  *Options
	question bool // within any(dns.questions, ...)
}

// expression parses and translates.
func (s *source) expression(text string, o *Options) (found condition, err error) {
	if strings.TrimSpace(text) == "" {
		return found, errors.New("expr: it has none")
	}
	if len(text) > maxExpression || deep(text) {
		return found, fmt.Errorf("expr: it has more than %d bytes, or is more than %d deep", maxExpression, maxBrackets)
	}
	tree, err := parser.Parse(text)
	if err != nil {
		return found, fmt.Errorf("expr: %w", err)
	}
	t := translator{source: s, options: o}
	return t.condition(tree.Node)
}

// deep reports brackets or signs that the parser would go into itself for. It counts those in texts too, which errs to
// the safe side.
func deep(text string) bool {
	brackets, signs := 0, 0
	for i := range len(text) {
		switch text[i] {
		case '(', '[', '{':
			brackets++
		case ')', ']', '}':
			brackets--
		case '!', '-', '+', '?', '^', '*':
			signs++
		}
		if brackets > maxBrackets {
			return true
		}
	}
	// Words that go on to the right are few enough for the bound on bytes; signs take one byte each.
	return signs > len(text)/2 && signs > maxBrackets
}

// bare takes an optional chain's cover off.
func bare(n ast.Node) ast.Node {
	for {
		chain, ok := n.(*ast.ChainNode)
		if !ok {
			return n
		}
		n = chain.Node
	}
}

func (t *translator) condition(n ast.Node) (condition, error) {
	switch n := bare(n).(type) {
	case *ast.BoolNode:
		if n.Value {
			return headers(config.Match{}, false), nil
		}
		return condition{}, nil
	case *ast.UnaryNode:
		if n.Operator == "!" || n.Operator == "not" {
			return t.not(n.Node)
		}
	case *ast.BinaryNode:
		return t.binary(n)
	case *ast.BuiltinNode:
		return t.builtin(n)
	case *ast.CallNode:
		return t.call(n)
	case *ast.MemberNode:
		if path, _, _ := field(n); path == "dns.qr" {
			t.note(noteDNS)
			return dnsMessages(config.DNS{}, answer), nil
		}
	}
	return condition{}, unknown(n)
}

func unknown(n ast.Node) error {
	return fmt.Errorf("%s: this language has nothing that says the same", oneLine(n.String()))
}

// headers is a condition on headers alone.
func headers(m config.Match, directed bool) condition {
	p := partOf(m, ofTCP|ofUDP)
	p.directed = directed
	return condition{early: p}
}

// not is for headers alone: OpenGFW's names are not there at first, and so are not what they are compared with.
func (t *translator) not(n ast.Node) (condition, error) {
	if path, _, _ := field(bare(n)); path == "dns.qr" {
		t.note(noteDNS)
		return dnsMessages(config.DNS{}, question), nil
	}
	inner, err := t.condition(n)
	switch {
	case err != nil:
		return inner, err
	case inner.late != nil || inner.early != nil && inner.early.named:
		return inner, fmt.Errorf("not %s: it holds at a flow's first packet there, as no name is known yet", oneLine(n.String()))
	case t.question:
		return inner, unknown(n)
	case inner.early == nil:
		return headers(config.Match{}, false), nil
	case inner.early.size > maxSize:
		return inner, nil
	}
	m := inner.early.match
	out := headers(config.Match{Not: &m}, inner.early.directed)
	if only(&m, "Protocols") {
		out.early.protocols = (ofTCP | ofUDP) &^ inner.early.protocols
	}
	out.early.size += inner.early.size
	if out.early.protocols == 0 {
		out.early = nil
	}
	return out, nil
}

func (t *translator) binary(n *ast.BinaryNode) (condition, error) {
	switch n.Operator {
	case "&&", "and", "||", "or":
		a, errA := t.condition(n.Left)
		b, errB := t.condition(n.Right)
		if err := errors.Join(errA, errB); err != nil {
			first, _, _ := strings.Cut(err.Error(), "\n")
			return a, errors.New(first)
		}
		if n.Operator[0] == '&' || n.Operator == "and" {
			return a.and(b), nil
		}
		there := requires(n.Right)
		if slices.ContainsFunc(lacks(n.Left, nil), func(path string) bool { return !slices.Contains(there, path) }) {
			return a, fmt.Errorf("%s: an error there where a part is missing, and the rest of the or is not asked: write ?. or two rules", oneLine(n.Left.String()))
		}
		return a.or(b), nil
	case "!=":
		if _, ok := bare(n.Right).(*ast.NilNode); ok {
			return t.present(n.Left)
		}
		if b, ok := bare(n.Right).(*ast.BoolNode); ok {
			return t.condition(&ast.BinaryNode{Operator: "==", Left: n.Left, Right: &ast.BoolNode{Value: !b.Value}})
		}
		return t.not(&ast.BinaryNode{Operator: "==", Left: n.Left, Right: n.Right})
	case "==":
		if b, ok := bare(n.Right).(*ast.BoolNode); ok {
			if b.Value {
				return t.condition(n.Left)
			}
			return t.not(n.Left)
		}
	case "in":
		if path, _, ok := field(n.Right); ok && (path == "tls.req.alpn" || path == "quic.req.alpn") {
			return t.alpn(path, n.Left)
		}
	}
	path, folded, ok := field(n.Left)
	if !ok {
		return condition{}, unknown(n)
	}
	if t.question {
		path = "question" + path
	}
	return t.compare(n, path, folded)
}

// compare is about a field and constants.
func (t *translator) compare(n *ast.BinaryNode, path string, folded bool) (condition, error) {
	switch path {
	case "port.src", "port.dst":
		ports, err := portsOf(n)
		if err != nil {
			return condition{}, err
		}
		if path == "port.src" {
			return headers(config.Match{SourcePorts: ports}, true), nil
		}
		return headers(config.Match{DestinationPorts: ports}, true), nil
	case "ip.src", "ip.dst", "proto":
		return t.words(n, path)
	case "question.type":
		types, err := numbers(n, 1<<16-1)
		if err != nil {
			return condition{}, err
		}
		var d config.DNS
		for _, r := range types {
			if r[0] != r[1] {
				return condition{}, unknown(n)
			}
			d.Types = append(d.Types, config.DNSType(r[0]))
		}
		return dnsMessages(d, question|answer), nil
	case "question.name", "tls.req.sni", "quic.req.sni", "http.req.headers.host":
		return t.names(n, path, folded)
	}
	return condition{}, unknown(n)
}

// words are addresses or protocols that a field is one of.
func (t *translator) words(n *ast.BinaryNode, path string) (condition, error) {
	list, ok := texts(n.Right)
	if !ok || n.Operator != "==" && n.Operator != "in" || n.Operator == "in" != isArray(n.Right) {
		return condition{}, unknown(n)
	}
	var out condition
	for _, word := range list {
		var one condition
		switch addr, err := netip.ParseAddr(word); {
		case path == "proto" && word == "tcp":
			one = headers(config.Match{Protocols: tcpOnly}, false)
			one.early.protocols = ofTCP
		case path == "proto" && word == "udp":
			one = headers(config.Match{Protocols: udpOnly}, false)
			one.early.protocols = ofUDP
		case path == "proto" || err != nil || addr.String() != word || addr.Is4In6() || addr.Zone() != "":
			return condition{}, fmt.Errorf("%s: %q never is what it is compared with: protocols are tcp and udp, addresses in their shortest form", oneLine(n.String()), word)
		default:
			one = address(path, netip.PrefixFrom(addr, addr.BitLen()))
		}
		out = out.or(one)
	}
	return out, nil
}

func address(path string, p netip.Prefix) condition {
	list := []config.Prefix{{Prefix: p}}
	if path == "ip.src" {
		return headers(config.Match{Source: list}, true)
	}
	return headers(config.Match{Destination: list}, true)
}

// names are what a name is compared with.
func (t *translator) names(n *ast.BinaryNode, path string, folded bool) (condition, error) {
	list, ok := texts(n.Right)
	how := equals
	switch {
	case !ok || n.Operator == "in" != isArray(n.Right):
		return condition{}, unknown(n)
	case n.Operator == "endsWith":
		how = endsWith
	case n.Operator != "==" && n.Operator != "in":
		return condition{}, fmt.Errorf("%s: names are compared as a whole or from their end here, not by %s", oneLine(n.String()), n.Operator)
	}
	var entries []config.Name
	for _, word := range list {
		entry, err := t.entry(how, word, folded, t.options)
		if err != nil {
			return condition{}, err
		}
		entries = append(entries, entry)
	}
	if len(entries) == 0 {
		return condition{}, nil
	}
	switch path {
	case "tls.req.sni":
		return late(config.Match{TLS: &config.Hello{Names: entries}}), nil
	case "quic.req.sni":
		return quic(config.Match{QUIC: &config.Hello{Names: entries}}), nil
	case "http.req.headers.host":
		t.note(noteHostPort)
		return late(config.Match{HTTP: &config.HTTPRequest{Names: slices.Clip(entries)}}), nil
	}
	return dnsMessages(config.DNS{Names: entries}, question|answer), nil
}

// late is a condition on a name over TCP.
func late(m config.Match) condition {
	return condition{late: named(m, ofTCP, other)}
}

// quic is one on a name that mostly comes with a flow's first packet.
func quic(m config.Match) condition {
	return condition{early: named(m, ofUDP, other)}
}

// alpn is one on a protocol that a client offers.
func (t *translator) alpn(path string, n ast.Node) (condition, error) {
	word, ok := n.(*ast.StringNode)
	if !ok {
		return condition{}, unknown(n)
	}
	h := &config.Hello{ALPN: []string{word.Value}}
	if path == "tls.req.alpn" {
		return late(config.Match{TLS: h}), nil
	}
	return quic(config.Match{QUIC: h}), nil
}

// present is a comparison with nil.
func (t *translator) present(n ast.Node) (condition, error) {
	path, _, _ := field(n)
	known := []vocabulary.NameState{"known", "hidden"}
	switch path {
	case "tls", "tls.req":
		return late(config.Match{TLS: &config.Hello{}}), nil
	case "quic", "quic.req":
		return quic(config.Match{QUIC: &config.Hello{}}), nil
	case "http", "http.req", "http.req.headers":
		return late(config.Match{HTTP: &config.HTTPRequest{}}), nil
	case "dns", "dns.questions":
		t.note(noteDNS)
		return dnsMessages(config.DNS{}, question|answer), nil
	case "tls.req.sni":
		return late(config.Match{TLS: &config.Hello{}, NameState: known}), nil
	case "quic.req.sni":
		return quic(config.Match{QUIC: &config.Hello{}, NameState: known}), nil
	case "ip", "ip.src", "ip.dst", "port", "port.src", "port.dst", "proto":
		return headers(config.Match{}, false), nil
	}
	return condition{}, unknown(n)
}
