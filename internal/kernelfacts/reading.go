package kernelfacts

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Reading is something that was read from the machine, or why it could not be.
// A machine is described as far as the caller may look: what is missing is said
// and ends nothing.
type Reading[T any] struct {
	Value T
	Err   error
}

// MarshalJSON writes the value, or {"unreadable": "why"}.
func (r Reading[T]) MarshalJSON() ([]byte, error) {
	if r.Err != nil {
		return json.Marshal(map[string]string{"unreadable": r.Err.Error()})
	}
	return json.Marshal(r.Value)
}

func read[T any](v T) Reading[T] { return Reading[T]{Value: v} }

func unread[T any](err error) Reading[T] { return Reading[T]{Err: err} }

// reasons are errors in one line, as they become a reason in a sentence.
type reasons []error

// together makes one error of those that are not nil.
func together(errs ...error) error {
	r := reasons(slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil }))
	if len(r) == 0 {
		return nil
	}
	return r
}

func (r reasons) Error() string {
	texts := make([]string, len(r))
	for i, err := range r {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (r reasons) Unwrap() []error { return r }

// readText reads a small file below root, without the space around its text.
func readText(root fs.FS, name string) Reading[string] {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return unread[string](fmt.Errorf("could not read: %w", err))
	}
	return read(strings.TrimSpace(string(b)))
}

func readNumber(root fs.FS, name string) Reading[uint64] {
	text := readText(root, name)
	if text.Err != nil {
		return unread[uint64](text.Err)
	}
	n, err := strconv.ParseUint(text.Value, 10, 64)
	if err != nil {
		return unread[uint64](fmt.Errorf("could not read %s: %w", name, err))
	}
	return read(n)
}
