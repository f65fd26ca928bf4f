package statistics

import (
	"reflect"
	"strings"
)

// Kind is how a field is to be read.
type Kind int

const (
	// Counter only grows, until the process ends.
	Counter Kind = iota
	// Gauge is how something stands.
	Gauge
	// Distribution is a Spread: how long something took.
	Distribution
)

// Field is a number of one of the types here, as metrics and documents tell it.
type Field struct {
	// Name is that of its key, or what the tag `metric` says instead.
	Name string
	// Help is the tag `help`: one sentence for an operator.
	Help  string
	Kind  Kind
	index []int
}

// Value is the field of a value, which is a Counter's or Gauge's number.
func (f *Field) Value(of reflect.Value) float64 {
	v := of.FieldByIndex(f.index)
	if v.Kind() == reflect.Uint64 {
		return float64(v.Uint())
	}
	return v.Float()
}

// Times are those of a Distribution; nil where they are not known.
func (f *Field) Times(of reflect.Value) *Times {
	return of.FieldByIndex(f.index).Interface().(Spread).Times
}

// Fields lists the numbers of a type, those of embedded ones included.
func Fields[T any]() []Field { return fields(reflect.TypeFor[T](), nil) }

func fields(t reflect.Type, index []int) (list []Field) {
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(append([]int(nil), index...), i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		other, kind, _ := strings.Cut(f.Tag.Get("metric"), ",")
		if other != "" {
			name = other
		}
		field := Field{Name: name, Help: f.Tag.Get("help"), index: at}
		switch {
		case f.Type == reflect.TypeFor[Spread]():
			field.Kind = Distribution
		case f.Type.Kind() == reflect.Struct:
			list = append(list, fields(f.Type, at)...)
			continue
		case f.Type.Kind() != reflect.Uint64 && f.Type.Kind() != reflect.Float64:
			continue // what tells whose numbers these are
		case kind == "gauge":
			field.Kind = Gauge
		}
		list = append(list, field)
	}
	return list
}
