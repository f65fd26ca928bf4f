package config

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// decode puts the node into v, which has the default, and goes on after a problem.
func (f *file) decode(key string, node ast.Node, v reflect.Value) {
	if _, text := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); text {
		f.scalar(key, node, v)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		f.pointer(key, node, v)
	case reflect.Struct:
		f.mapping(key, node, v)
	case reflect.Slice:
		f.sequence(key, node, v)
	default:
		f.scalar(key, node, v)
	}
}

// defaulter has keys whose defaults are not zero, and is made only where a file has it.
type defaulter interface{ setDefaults() }

// pointer is to what a file may have or not; an empty section is not the same as none.
func (f *file) pointer(key string, node ast.Node, v reflect.Value) {
	target := reflect.New(v.Type().Elem())
	_, text := reflect.TypeAssert[encoding.TextUnmarshaler](target)
	if !text && target.Elem().Kind() == reflect.Struct && node.Type() == ast.NullType {
		f.report(key, f.at[key], "has no value: write {} if it is to be empty, or leave the key out")
		return
	}
	if d, ok := reflect.TypeAssert[defaulter](target); ok {
		d.setDefaults()
	}
	v.Set(target)
	f.decode(key, node, target.Elem())
}

// yamlKey is a field's key; a field that is inline has none, and its own fields are in its place.
func yamlKey(field reflect.StructField) (key string, inline bool) {
	key, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
	return key, options == "inline"
}

// fieldsOf maps keys to the fields of v, and lists the keys in order.
func fieldsOf(v reflect.Value) (fields map[string]reflect.Value, known []string) {
	fields = map[string]reflect.Value{}
	for i := range v.NumField() {
		key, inline := yamlKey(v.Type().Field(i))
		if !inline {
			fields[key] = v.Field(i)
			known = append(known, key)
			continue
		}
		inner, keys := fieldsOf(v.Field(i))
		maps.Copy(fields, inner)
		known = append(known, keys...)
	}
	return fields, known
}

func (f *file) mapping(key string, node ast.Node, v reflect.Value) {
	var pairs []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	case *ast.NullNode: // a section with all its keys commented out
		return
	default:
		f.report(key, position(node), "must be a section of keys, not %s", describe(node))
		return
	}
	fields, known := fieldsOf(v)
	first := map[string]*token.Position{}
	for _, pair := range pairs {
		where := pair.Key.GetToken().Position
		name := pair.Key.GetToken().Value
		path := strings.TrimPrefix(key+"."+name, ".")
		if before := first[name]; before != nil {
			f.report(path, where, "written a second time: line %d has it already", before.Line)
			continue
		}
		first[name] = where
		field, exists := fields[name]
		if instead, gone := f.gone[path]; gone {
			f.report(path, where, "%s", instead)
			continue
		}
		if !exists {
			f.report(path, where, "no such key: the nearest is %q, of %s", nearest(name, known), strings.Join(known, ", "))
			continue
		}
		f.at[path] = where
		f.decode(path, pair.Value, field)
	}
}

func (f *file) sequence(key string, node ast.Node, v reflect.Value) {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		f.report(key, position(node), "must be a list like [a, b], not %s", describe(node))
		return
	}
	v.SetZero() // the list replaces the default's
	for i, entry := range list.Values {
		path := fmt.Sprintf("%s[%d]", key, i)
		f.at[path] = position(entry)
		item := reflect.New(v.Type().Elem()).Elem()
		f.decode(path, entry, item)
		v.Set(reflect.Append(v, item))
	}
}

func (f *file) scalar(key string, node ast.Node, v reflect.Value) {
	// goccy/go-yaml puts a missing value behind the end of its line: the key's
	// position stays.
	if node.Type() != ast.NullType {
		f.at[key] = position(node)
	}
	var text string
	switch n := node.(type) {
	case *ast.StringNode:
		text = n.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		text = node.GetToken().Value
	case *ast.NullNode:
		f.report(key, f.at[key], "has no value: write one, or leave the key out for the default")
		return
	case *ast.MappingNode, *ast.MappingValueNode:
		f.report(key, f.at[key], "must be a single value, not %s: put what has a colon in quotes", describe(node))
		return
	default:
		f.report(key, f.at[key], "must be a single value, not %s", describe(node))
		return
	}
	if instead, gone := goneValues[key][text]; gone {
		f.report(key, f.at[key], "%s is gone: %s", text, instead)
		return
	}
	if err := set(v, node, text); err != nil {
		f.report(key, f.at[key], "%v", err)
	}
}

// set reads text as the type of v. The node tells a string from what only
// looks like one.
func set(v reflect.Value, node ast.Node, text string) error {
	switch target := v.Addr().Interface().(type) {
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration: write a number with its unit, like 50ms or 1.5s", text)
		}
		*target = d
		return nil
	case encoding.TextUnmarshaler:
		return target.UnmarshalText([]byte(text))
	case named:
		if !slices.Contains(target.Values(), text) {
			return fmt.Errorf("%q is not one of %s: the nearest is %q", text, strings.Join(target.Values(), ", "), nearest(text, target.Values()))
		}
		v.SetString(text)
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		if node.Type() != ast.StringType {
			return fmt.Errorf("must be text, not %s: put it in quotes", describe(node))
		}
		v.SetString(text)
	case reflect.Bool:
		b, ok := node.(*ast.BoolNode)
		if !ok {
			return fmt.Errorf("must be true or false, not %q", text)
		}
		v.SetBool(b.Value)
	case reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || node.Type() == ast.StringType {
			return fmt.Errorf("must be a number, not %q", text)
		}
		v.SetFloat(x)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 0, v.Type().Bits())
		if err != nil || !wholeNumber(node, text) {
			return fmt.Errorf("must be a whole number, not %q", text)
		}
		v.SetInt(n)
	default:
		n, err := strconv.ParseUint(text, 0, v.Type().Bits())
		if err != nil || !wholeNumber(node, text) {
			return fmt.Errorf("must be a whole number from 0 to %d, not %q", uint64(1)<<v.Type().Bits()-1, text)
		}
		v.SetUint(n)
	}
	return nil
}

// wholeNumber is false for text, for a fraction, and for 010, which is 8 in
// YAML 1.1 and 10 in 1.2: both are guesses.
func wholeNumber(node ast.Node, text string) bool {
	digits := strings.TrimLeft(text, "+-")
	octal := len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9'
	return node.Type() == ast.IntegerType && !octal
}

// position is where a node begins; the token of a block of keys is its first colon.
func position(node ast.Node) *token.Position {
	switch n := node.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken().Position
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken().Position
	}
	return node.GetToken().Position
}

func describe(node ast.Node) string {
	switch node.Type() {
	case ast.MappingType, ast.MappingValueType:
		return "a section of keys"
	case ast.SequenceType:
		return "a list"
	case ast.NullType:
		return "nothing"
	case ast.StringType, ast.LiteralType:
		return "text"
	case ast.IntegerType, ast.FloatType, ast.InfinityType, ast.NanType:
		return "a number"
	case ast.BoolType:
		return "true or false"
	}
	return "YAML's " + strings.ToLower(node.Type().String())
}
