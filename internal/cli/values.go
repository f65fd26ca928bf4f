package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// values read what flags take, with errors that say what to write instead. No flag takes a number or a time below 0.
var values = []kong.Option{
	kong.TypeMapper(reflect.TypeFor[time.Duration](), value(timeName, parseDuration)),
	kong.TypeMapper(reflect.TypeFor[netip.Addr](), value("ADDR", parseAddr)),
	kong.KindMapper(reflect.Int, value("N", func(s string) (int64, error) { return parseWhole(s, strconv.IntSize-1) })),
	kong.KindMapper(reflect.Uint16, value("N", func(s string) (int64, error) { return parseWhole(s, 16) })),
	kong.KindMapper(reflect.Uint32, value("N", func(s string) (int64, error) { return parseWhole(s, 32) })),
	kong.KindMapper(reflect.Uint64, value("N", func(s string) (uint64, error) { return parseUnsigned(s, 64) })),
	kong.NamedMapper("page", value("FILE", parsePage)),
	kong.KindMapper(reflect.Float64, value("X", parseFloat)),
}

// timeName stands for a time in help texts.
const timeName = "TIME"

// mapper reads a word, and says what stands for it in help texts.
type mapper struct {
	kong.MapperFunc
	name string
}

// PlaceHolder is called by kong: the default is in the help text, so that the place is for the kind of value.
func (m mapper) PlaceHolder(f *kong.Flag) string {
	name := f.PlaceHolder
	if name == "" {
		name = m.name
	}
	return name
}

// value makes a mapper of a function that reads a word.
func value[T any](name string, parse func(string) (T, error)) kong.Mapper {
	return mapper{name: name, MapperFunc: func(ctx *kong.DecodeContext, target reflect.Value) error {
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
	}}
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	_, number := strconv.ParseFloat(s, 64)
	switch {
	case err == nil && d < 0:
		return 0, fmt.Errorf("%q is below 0: write a time such as 500ms, 10s, 5m or 1h30m", s)
	case err != nil && number == nil:
		return 0, fmt.Errorf("%q lacks its unit: write %ss for seconds, %sms for milliseconds, %sm for minutes", s, s, s, s)
	case err != nil:
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

// parseWhole reads a number of so many bits, as ports and queue numbers are. Of fewer than 64 bits it is in an int64.
func parseWhole(s string, bits int) (int64, error) {
	n, err := parseUnsigned(s, bits)
	return int64(n), err
}

func parseUnsigned(s string, bits int) (uint64, error) {
	n, err := strconv.ParseUint(s, 0, bits)
	if err != nil && bits > 32 {
		return 0, fmt.Errorf("%q is no whole number from 0 on, without a unit", s)
	}
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number from 0 to %d", s, uint64(1)<<bits-1)
	}
	return n, nil
}

func parseFloat(s string) (float64, error) {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || !(x >= 0) || strings.ContainsAny(s, "iI") { // not NaN, not infinite
		return 0, fmt.Errorf("%q is no number from 0 on, such as 20 or 0.5", s)
	}
	return x, nil
}

// parsePage takes the file of a page. Standard output is for text or JSON.
func parsePage(s string) (string, error) {
	if s == "-" {
		return "", errors.New("a page goes to a file, and - is none")
	}
	return s, nil
}
