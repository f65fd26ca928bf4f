package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"verdictd/internal/ct"
	"verdictd/internal/vocabulary"
)

// eventFilter is which events to receive. The kernel applies it: what does not pass costs this program nothing.
type eventFilter struct {
	Type     []string `enum:"new,update,destroy" help:"Only these: new, update, destroy. Flows cannot be followed without all of them. Default: all." placeholder:"TYPE"`
	Protocol []string `help:"Only of these protocols, by name or number. Without it: of all." placeholder:"P"`
	Family   string   `help:"Only ipv4, or only ipv6. Without it: both." enum:",ipv4,ipv6" default:"" placeholder:"ipv4|ipv6"`
	Zone     *uint16  `help:"Only of this zone, in either direction. Without it: of all." placeholder:"N"`
	Mark     string   `help:"Only of this mark, or of these bits of it. Without it: of any." placeholder:"VALUE[/MASK]"`
}

var families = map[string]uint8{"": 0, "ipv4": unix.AF_INET, "ipv6": unix.AF_INET6}

// filter reads the flags, and says all that is wrong with them.
func (f *eventFilter) filter() (filter ct.Filter, err error) {
	var errs []error
	for _, typ := range []ct.EventType{ct.EventNew, ct.EventUpdate, ct.EventDestroy} {
		if slices.Contains(f.Type, typ.String()) {
			filter.Types = append(filter.Types, typ)
		}
	}
	for _, name := range f.Protocol {
		protocol, err := vocabulary.ParseProtocol(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("--protocol: %w", err))
		}
		filter.Protocols = append(filter.Protocols, protocol)
	}
	filter.Family, filter.Zone = families[f.Family], f.Zone
	if filter.Mark, err = parseMark(f.Mark); err != nil {
		errs = append(errs, err)
	}
	return filter, errors.Join(append(errs, filter.Validate())...)
}

// parseMark reads VALUE or VALUE/MASK, in any base that Go knows.
func parseMark(s string) (*ct.Mark, error) {
	if s == "" {
		return nil, nil
	}
	const all = 1<<32 - 1
	mark := ct.Mark{Mask: all}
	value, mask, masked := strings.Cut(s, "/")
	for _, part := range []struct {
		text  string
		to    *uint32
		given bool
	}{{value, &mark.Value, true}, {mask, &mark.Mask, masked}} {
		if !part.given {
			continue
		}
		n, err := strconv.ParseUint(part.text, 0, 32)
		if err != nil {
			return nil, fmt.Errorf("--mark %s: %q is no number of 32 bits: want VALUE or VALUE/MASK", s, part.text)
		}
		*part.to = uint32(n)
	}
	return &mark, nil
}
