package procnet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// sign is what tells a namespace from others.
type sign struct {
	device  string // that only this one has; "" for the namespace that the run started in
	packets uint64 // that loopback has seen, and UDP has delivered
	foreign []string
}

// view is a name of a namespace's directory.
type view struct {
	kind string // as results name it
	path string
	sign *sign
}

// checks are the files that tell namespaces apart, by their names in the directory.
var checks = map[string]func(text string, s *sign) string{
	"dev":  checkDevices,
	"snmp": checkCounters,
}

// files are the keys of checks, in a fixed order.
var files = []string{"dev", "snmp"}

// checkDevices looks at net/dev: the namespace's own device, nobody else's, and the packets that loopback has seen.
func checkDevices(text string, s *sign) string {
	seen := map[string][]string{}
	for line := range strings.Lines(text) {
		if name, rest, ok := strings.Cut(line, ":"); ok {
			seen[strings.TrimSpace(name)] = strings.Fields(rest)
		}
	}
	if len(seen) == 0 {
		return "no devices at all"
	}
	if why := foreignIn(s, func(name string) bool { return seen[name] != nil }); why != "" || s.device == "" {
		return why
	}
	if seen[s.device] == nil {
		return fmt.Sprintf("lacks the namespace's own device %s", s.device)
	}
	lo := seen["lo"]
	if len(lo) < 2 {
		return "no counters of lo"
	}
	return differs("packets on lo", lo[1], s.packets)
}

// checkCounters looks at net/snmp: the datagrams that were received.
func checkCounters(text string, s *sign) string {
	if s.device == "" {
		return "" // others send there
	}
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Udp:" && fields[1] != "InDatagrams" {
			return differs("datagrams received", fields[1], s.packets)
		}
	}
	return "no counters of UDP"
}

// checkListing looks at the names in net/dev_snmp6, one a device.
func checkListing(names []string, s *sign) string {
	if why := foreignIn(s, func(name string) bool { return slices.Contains(names, name) }); why != "" || s.device == "" {
		return why
	}
	if !slices.Contains(names, s.device) {
		return fmt.Sprintf("lists %v, and not the namespace's own device %s", names, s.device)
	}
	return ""
}

func foreignIn(s *sign, has func(string) bool) string {
	for _, name := range s.foreign {
		if has(name) {
			return fmt.Sprintf("shows %s, a device of another namespace", name)
		}
	}
	return ""
}

func differs(what, text string, want uint64) string {
	if n, err := strconv.ParseUint(text, 10, 64); err != nil || n != want {
		return fmt.Sprintf("%s: %s, but there were %d", what, text, want)
	}
	return ""
}
