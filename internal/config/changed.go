package config

import (
	"reflect"
	"strings"
)

// Changed lists the keys whose values differ, in the order of the structs, as in
// "guard.mode". A list is one key, whatever is in it.
func Changed(a, b *Config) (keys []string) {
	changed("", reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem(), &keys)
	return keys
}

func changed(key string, a, b reflect.Value, keys *[]string) {
	for i := range a.NumField() {
		tag, _ := yamlKey(a.Type().Field(i))
		path := strings.TrimPrefix(key+"."+tag, ".")
		switch x, y := a.Field(i), b.Field(i); {
		case x.Kind() == reflect.Struct:
			changed(path, x, y, keys)
		case x.Kind() == reflect.Slice && x.Len() == 0 && y.Len() == 0: // one may be nil
		case !reflect.DeepEqual(x.Interface(), y.Interface()):
			*keys = append(*keys, path)
		}
	}
}

// Problems takes an error of Load or Parse apart; nil where it is none of these.
func Problems(err error) (list []*KeyError) {
	if one, ok := err.(*KeyError); ok { //nolint:errorlint // this error itself: what it wraps may be several
		return []*KeyError{one}
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	for _, e := range joined.Unwrap() {
		list = append(list, Problems(e)...)
	}
	return list
}
