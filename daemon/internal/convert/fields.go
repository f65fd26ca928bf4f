package convert

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

// field is the path of a field, such as tls.req.sni, or .name in a predicate, with string() and lower() around it.
func field(n ast.Node) (path string, folded, ok bool) {
	switch n := bare(n).(type) {
	case *ast.IdentifierNode:
		return n.Value, false, true
	case *ast.PointerNode:
		return "", false, n.Name == ""
	case *ast.MemberNode:
		key, isText := n.Property.(*ast.StringNode)
		path, folded, ok = field(n.Node)
		if !isText || !ok || folded {
			return "", false, false
		}
		if _, pointer := bare(n.Node).(*ast.PointerNode); !pointer && path == "" {
			return "", false, false
		}
		return path + "." + key.Value, false, true
	case *ast.BuiltinNode:
		if len(n.Arguments) != 1 || n.Name != "string" && n.Name != "lower" {
			return "", false, false
		}
		path, folded, ok = field(n.Arguments[0])
		return path, folded || n.Name == "lower", ok
	}
	return "", false, false
}

// builtin is a function of the expression language.
func (t *translator) builtin(n *ast.BuiltinNode) (condition, error) {
	switch n.Name {
	case "hasSuffix":
		if len(n.Arguments) == 2 {
			return t.binary(&ast.BinaryNode{Operator: "endsWith", Left: n.Arguments[0], Right: n.Arguments[1]})
		}
	case "any":
		if len(n.Arguments) != 2 || t.question {
			break
		}
		path, _, _ := field(n.Arguments[0])
		predicate, ok := n.Arguments[1].(*ast.PredicateNode)
		if path != "dns.questions" || !ok {
			break
		}
		t.note(noteDNS)
		inner := *t
		inner.question = true
		found, err := inner.condition(predicate.Node)
		return found, err
	}
	return condition{}, unknown(n)
}

// call is a function of OpenGFW's.
func (t *translator) call(n *ast.CallNode) (condition, error) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || t.question {
		return condition{}, unknown(n)
	}
	switch callee.Value {
	case "geoip", "geosite", "lookup":
		return condition{}, fmt.Errorf("%s: there are no such lists here: put what they have into a set", oneLine(n.String()))
	case "cidr":
	default:
		return condition{}, unknown(n)
	}
	if len(n.Arguments) != 2 {
		return condition{}, unknown(n)
	}
	path, _, _ := field(n.Arguments[0])
	text, ok := n.Arguments[1].(*ast.StringNode)
	if !ok || path != "ip.src" && path != "ip.dst" {
		return condition{}, unknown(n)
	}
	prefix, err := netip.ParsePrefix(text.Value)
	if err != nil || prefix.Addr().Is4In6() {
		return condition{}, fmt.Errorf("%s: %q is no prefix", oneLine(n.String()), text.Value)
	}
	return address(path, prefix.Masked()), nil
}

func isArray(n ast.Node) bool {
	_, ok := n.(*ast.ArrayNode)
	return ok
}

// texts are one text, or those of a list.
func texts(n ast.Node) (list []string, ok bool) {
	nodes := []ast.Node{n}
	if array, ok := n.(*ast.ArrayNode); ok {
		nodes = array.Nodes
	}
	for _, n := range nodes {
		word, ok := n.(*ast.StringNode)
		if !ok {
			return nil, false
		}
		list = append(list, word.Value)
	}
	return list, true
}

// numbers are the ranges that a comparison with numbers has.
func numbers(n *ast.BinaryNode, most int) (list [][2]int, err error) {
	add := func(first, last int) {
		first, last = max(first, 0), min(last, most)
		if first <= last {
			list = append(list, [2]int{first, last})
		}
	}
	right := n.Right
	if array, ok := right.(*ast.ArrayNode); ok && n.Operator == "in" {
		for _, v := range array.Nodes {
			i, ok := v.(*ast.IntegerNode)
			if !ok {
				return nil, unknown(n)
			}
			add(i.Value, i.Value)
		}
		return list, nil
	}
	if span, ok := right.(*ast.BinaryNode); ok && n.Operator == "in" && span.Operator == ".." {
		first, okFirst := span.Left.(*ast.IntegerNode)
		last, okLast := span.Right.(*ast.IntegerNode)
		if !okFirst || !okLast {
			return nil, unknown(n)
		}
		add(first.Value, last.Value)
		return list, nil
	}
	i, ok := right.(*ast.IntegerNode)
	if !ok {
		return nil, unknown(n)
	}
	switch n.Operator {
	case "==":
		add(i.Value, i.Value)
	case "<":
		add(0, i.Value-1)
	case "<=":
		add(0, i.Value)
	case ">":
		add(i.Value+1, most)
	case ">=":
		add(i.Value, most)
	default:
		return nil, unknown(n)
	}
	return list, nil
}

// portsOf are the ports that a comparison has.
func portsOf(n *ast.BinaryNode) (list []config.Ports, err error) {
	ranges, err := numbers(n, 1<<16-1)
	for _, r := range ranges {
		list = append(list, config.Ports{PortRange: vocabulary.PortRange{First: uint16(r[0]), Last: uint16(r[1])}})
	}
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%s: no port is like that", oneLine(n.String()))
	}
	return list, err
}

// lacks are the fields for which an expression ends in an error where an analyzer has not found them. There are the
// paths that have been compared with nil before.
func lacks(n ast.Node, there []string) (list []string) {
	switch n := n.(type) {
	case *ast.ChainNode:
		return lacks(n.Node, there)
	case *ast.UnaryNode:
		return lacks(n.Node, there)
	case *ast.BinaryNode:
		list = lacks(n.Left, there)
		if n.Operator == "&&" || n.Operator == "and" {
			there = slices.Concat(there, guards(n.Left))
		}
		if ordered(n) {
			list = append(list, mayLack(n.Left, there)...)
		}
		return append(list, lacks(n.Right, there)...)
	case *ast.MemberNode:
		if list = lacks(n.Node, there); !n.Optional {
			list = append(list, mayLack(n.Node, there)...)
		}
		return list
	case *ast.BuiltinNode:
		for _, a := range n.Arguments {
			if _, predicate := a.(*ast.PredicateNode); predicate {
				continue
			}
			if list = append(list, lacks(a, there)...); n.Name != "string" {
				list = append(list, mayLack(a, there)...)
			}
		}
	}
	return list
}

// requires are the fields without which an expression never holds.
func requires(n ast.Node) []string {
	switch n := bare(n).(type) {
	case *ast.BinaryNode:
		switch n.Operator {
		case "&&", "and":
			return append(requires(n.Left), requires(n.Right)...)
		case "||", "or":
			left := requires(n.Left)
			return slices.DeleteFunc(requires(n.Right), func(path string) bool { return !slices.Contains(left, path) })
		case "==", "in", "endsWith":
			return upTo(n.Left)
		}
	case *ast.BuiltinNode:
		if len(n.Arguments) == 2 {
			return upTo(n.Arguments[0])
		}
	}
	return nil
}

// upTo are a field's path and those that it is a part of.
func upTo(n ast.Node) (list []string) {
	path, _, _ := field(n)
	for i := range len(path) {
		if path[i] == '.' {
			list = append(list, path[:i])
		}
	}
	return append(list, path)
}

// ordered are comparisons that need a value.
func ordered(n *ast.BinaryNode) bool {
	return slices.Contains([]string{"endsWith", "startsWith", "contains", "matches", "<", ">", "<=", ">="}, n.Operator)
}

// mayLack is a field that may not be there.
func mayLack(n ast.Node, there []string) []string {
	if b, ok := bare(n).(*ast.BuiltinNode); ok && b.Name == "string" {
		return nil
	}
	path, _, ok := field(n)
	if _, constant := n.(*ast.StringNode); constant || ok && slices.Contains(there, path) {
		return nil
	}
	root, _, _ := strings.Cut(path, ".")
	if ok && slices.Contains([]string{"", "ip", "port", "proto", "id"}, root) {
		return nil
	}
	return []string{path}
}

// guards are the paths that an expression compares with nil.
func guards(n ast.Node) (list []string) {
	b, ok := bare(n).(*ast.BinaryNode)
	if !ok {
		return nil
	}
	switch b.Operator {
	case "&&", "and":
		return append(guards(b.Left), guards(b.Right)...)
	case "!=":
		if _, isNil := bare(b.Right).(*ast.NilNode); isNil {
			if path, _, ok := field(b.Left); ok {
				return []string{path}
			}
		}
	}
	return nil
}
