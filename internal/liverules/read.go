package liverules

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
)

// Read reads the rules of the calling thread's network namespace. What could
// not be read is in Unread; the error has it too if no rules could be read at
// all, and the result is usable even then.
//
// Tables of nftables of family inet with one of the names besides do not count for
// whether conntrack is active: a gate's rules ask it, and so keep it active, which
// is no reason for the gate to stay. Everything else that their rules do counts.
func Read(besides ...string) (*Rules, error) {
	// All sources have to be those of one namespace.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	var chains []*chain
	var unread []Unread
	var failures []error
	read := func(what string, more []*chain, err error) {
		if err != nil {
			u := Unread{What: what, Why: err.Error(), err: err}
			unread, failures = append(unread, u), append(failures, u)
		}
		chains = append(chains, more...)
	}
	more, keepers, err := readNFTables()
	read("nftables", more, err)
	for _, p := range protocols {
		more, err := readLegacy(p)
		read(p.program, more, err)
	}
	for _, c := range chains {
		c.ignored = c.source == NFTables && c.family == Inet && slices.Contains(besides, c.table)
	}
	complete := len(unread) == 0
	s, also := readSurroundings()
	s.keepers = slices.DeleteFunc(keepers, func(k keeper) bool { return k.family == Inet && slices.Contains(besides, k.table) })
	rules := analyse(chains, s, complete)
	rules.Unread = append(unread, also...)
	if len(failures) == 1+len(protocols) {
		return rules, fmt.Errorf("read the netfilter rules: %w", errors.Join(failures...))
	}
	return rules, nil
}
