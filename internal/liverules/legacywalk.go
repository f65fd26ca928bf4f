package liverules

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// legacyPriorities are those of the tables.
var legacyPriorities = map[string]int{"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}

// natSourcePriority is that of the table nat in INPUT and POSTROUTING.
const natSourcePriority = 100

func legacyPriority(table string, h vocabulary.Hook) int {
	if table == "nat" && (h == vocabulary.HookInput || h == vocabulary.HookPostrouting) {
		return natSourcePriority
	}
	return legacyPriorities[table]
}

// A legacyTable is what IPT_SO_GET_INFO and IPT_SO_GET_ENTRIES give.
type legacyTable struct {
	name string
	// validHooks has a bit for each hook with a chain; entry and underflow are
	// the offsets of its first rule and of its policy.
	validHooks       uint32
	entry, underflow [5]uint32
	entries          []byte
}

// errorTarget marks the beginning of a user's chain, whose name it has, and the
// end of the table.
const errorTarget = "ERROR"

var errMalformed = errors.New("the table's entries are malformed")

// chains takes a table apart. A jump is an offset, to the beginning of a chain
// that may come later.
func (t legacyTable) chains(l layout) ([]*chain, error) {
	beginnings, policies := map[int]vocabulary.Hook{}, map[int]bool{}
	for i, h := range vocabulary.Hooks() {
		if t.validHooks&(1<<i) != 0 {
			beginnings[int(t.entry[i])] = h
			policies[int(t.underflow[i])] = true
		}
	}
	var chains []*chain
	var current *chain
	begin := func(name string, b *base) {
		current = &chain{source: XTables, family: l.family, table: t.name, name: name, base: b}
		chains = append(chains, current)
	}
	type jump struct {
		from   *chain
		index  int
		target int
	}
	var jumps []jump
	names := map[int]string{}
	for at := 0; at < len(t.entries); {
		e, err := l.entry(t.entries[at:])
		if err != nil {
			return nil, fmt.Errorf("entry at offset %d: %w", at, err)
		}
		next := at + e.length
		if h, ok := beginnings[at]; ok {
			begin(strings.ToUpper(string(h)), &base{h, legacyPriority(t.name, h)})
		}
		switch {
		case e.target.name == errorTarget && next == len(t.entries): // the end
		case e.target.name == errorTarget:
			names[next] = unix.ByteSliceToString(e.target.info)
			begin(names[next], nil)
		case current == nil:
			return nil, fmt.Errorf("entry at offset %d is in no chain: %w", at, errMalformed)
		case policies[at]: // no rule
		default:
			r := e.rule(l)
			r.number = len(current.rules) + 1
			// A jump to the next entry is how a rule without a target is written.
			if v, ok := e.verdict(); ok && v >= 0 && v != next {
				jumps = append(jumps, jump{current, len(current.rules), v})
			}
			current.rules = append(current.rules, r)
		}
		at = next
	}
	for _, j := range jumps {
		r := &j.from.rules[j.index]
		name, ok := names[j.target]
		if !ok {
			return nil, fmt.Errorf("rule %d of chain %s jumps to offset %d, where no chain begins: %w", r.number, j.from.name, j.target, errMalformed)
		}
		r.calls = []string{name}
	}
	return chains, nil
}
