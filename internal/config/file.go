package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// KeyError is one thing that is wrong with a file.
type KeyError struct {
	File         string
	Line, Column int
	// Key is the path to the setting, as in "policy.rules[0].action".
	Key string
	// Text says what is wrong and what to do.
	Text string
}

func (e *KeyError) Error() string {
	text := e.Text
	if e.Key != "" {
		text = e.Key + ": " + text
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, text)
}

// file collects where things are in a file and in those that it includes, and what is wrong with them.
type file struct {
	name     string
	at       map[string]*token.Position // by key; of the value where it is one line
	bad      map[string]bool            // keys with a problem
	gone     map[string]string          // keys that do not exist, and what to do instead
	problems []*KeyError
	parts    []*part // in order
}

// part is a file that another one includes, and which of its policy's rules and sets are in there.
type part struct {
	*file
	rules, sets span
}

type span struct{ first, behind int }

func newFile(name string) *file {
	return &file{name: name, at: map[string]*token.Position{}, bad: map[string]bool{}, gone: goneKeys}
}

// owner is the file that has a key, and what the key is called there.
func (f *file) owner(key string) (*file, string) {
	if len(f.parts) == 0 {
		return f, key
	}
	for list, of := range map[string]func(*part) span{
		"rules": func(p *part) span { return p.rules },
		"sets":  func(p *part) span { return p.sets },
	} {
		index, ok := strings.CutPrefix(key, "policy."+list+"[")
		index, rest, _ := strings.Cut(index, "]")
		i, err := strconv.Atoi(index)
		if !ok || err != nil {
			continue
		}
		n := sort.Search(len(f.parts), func(n int) bool { return of(f.parts[n]).behind > i })
		if n < len(f.parts) && of(f.parts[n]).first <= i {
			return f.parts[n].file, fmt.Sprintf("%s[%d]%s", list, i-of(f.parts[n]).first, rest)
		}
	}
	return f, key
}

// has reports whether a key is written.
func (f *file) has(key string) bool {
	f, key = f.owner(key)
	return f.at[key] != nil
}

// isBad reports whether a key, or what holds it, has a problem.
func (f *file) isBad(key string) bool {
	f, key = f.owner(key)
	for k := key; k != ""; k = parent(k) {
		if f.bad[k] {
			return true
		}
	}
	return false
}

// isBlank reports whether nothing is written in the value of a key, right or wrong.
func (f *file) isBlank(key string) bool {
	f, key = f.owner(key)
	below := func(k string) bool { return strings.HasPrefix(k, key+".") || strings.HasPrefix(k, key+"[") }
	for k := range f.at {
		if below(k) {
			return false
		}
	}
	for k := range f.bad {
		if below(k) {
			return false
		}
	}
	return true
}

// report adds a problem; without a position it is at the top.
func (f *file) report(key string, position *token.Position, format string, args ...any) {
	f.bad[key] = true
	f.problems = append(f.problems, f.problem(key, position, format, args...))
}

func (f *file) problem(key string, position *token.Position, format string, args ...any) *KeyError {
	p := &KeyError{File: f.name, Line: 1, Column: 1, Key: key, Text: fmt.Sprintf(format, args...)}
	if position != nil {
		p.Line, p.Column = position.Line, position.Column
	}
	return p
}

// wrong reports a problem of a value, unless it could not be read to begin with.
func (f *file) wrong(key, format string, args ...any) {
	if f.isBad(key) {
		return
	}
	f, key = f.owner(key)
	f.report(key, f.place(key), format, args...)
}

// place is where a key stands, or what holds it; nil where none does.
func (f *file) place(key string) *token.Position {
	for f.at[key] == nil && key != "" {
		key = parent(key)
	}
	return f.at[key]
}

// parent is the key that holds key: that of "a.b[0]" is "a.b".
func parent(key string) string { return key[:max(0, strings.LastIndexAny(key, ".["))] }

// all are the problems in the order of the files and of their lines.
func (f *file) all() []*KeyError {
	slices.SortStableFunc(f.problems, func(a, b *KeyError) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	list := f.problems
	for _, p := range f.parts {
		list = append(list, p.all()...)
	}
	return list
}

func (f *file) err() error {
	var list []error
	for _, p := range f.all() {
		list = append(list, p)
	}
	return errors.Join(list...)
}
