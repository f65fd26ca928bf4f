package statistics

import "reflect"

// Add adds all counters of a struct, those of embedded ones included. A Spread becomes
// that of all times, as far as their [Times] are known.
func Add[T any](sum, of *T) {
	add(reflect.ValueOf(sum).Elem(), reflect.ValueOf(of).Elem())
}

func add(sum, of reflect.Value) {
	if s, ok := reflect.TypeAssert[*Spread](sum.Addr()); ok {
		s.add(of.Addr().Interface().(*Spread))
		return
	}
	for i := range sum.NumField() {
		switch s := sum.Field(i); s.Kind() {
		case reflect.Struct:
			add(s, of.Field(i))
		case reflect.Uint64:
			s.SetUint(s.Uint() + of.Field(i).Uint())
		}
	}
}
