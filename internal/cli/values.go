package cli

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"time"

	"github.com/alecthomas/kong"
)

// values read what flags take, with errors that say what to write instead.
var values = []kong.Option{
	kong.TypeMapper(reflect.TypeFor[time.Duration](), value(parseDuration)),
	kong.TypeMapper(reflect.TypeFor[netip.Addr](), value(parseAddr)),
	kong.KindMapper(reflect.Uint16, value(func(s string) (uint16, error) { return parseUnsigned[uint16](s, 16) })),
	kong.KindMapper(reflect.Uint32, value(func(s string) (uint32, error) { return parseUnsigned[uint32](s, 32) })),
}

// value makes a mapper of a function that reads a word.
func value[T any](parse func(string) (T, error)) kong.MapperFunc {
	return func(ctx *kong.DecodeContext, target reflect.Value) error {
		var word string
		if err := ctx.Scan.PopValueInto("value", &word); err != nil {
			return err
		}
		v, err := parse(word)
		if err != nil {
			return err
		}
		target.Set(reflect.ValueOf(v).Convert(target.Type()))
		return nil
	}
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if _, number := strconv.ParseFloat(s, 64); err != nil && number == nil {
		return 0, fmt.Errorf("%q lacks its unit: write %ss for seconds, %sms for milliseconds, %sm for minutes", s, s, s, s)
	}
	if err != nil {
		return 0, fmt.Errorf("%q is no time: write one such as 500ms, 10s, 5m or 1h30m", s)
	}
	return d, nil
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, fmt.Errorf("%q is no IP address: write one such as 192.0.2.1 or 2001:db8::1, without a port; names are not looked up", s)
	}
	return a, nil
}

// parseUnsigned reads a number of so many bits, as ports and queue numbers are.
func parseUnsigned[T uint16 | uint32](s string, bits int) (T, error) {
	n, err := strconv.ParseUint(s, 0, bits)
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number from 0 to %d", s, uint64(1)<<bits-1)
	}
	return T(n), nil
}
