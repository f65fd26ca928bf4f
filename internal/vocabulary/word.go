package vocabulary

import (
	"fmt"
	"slices"
	"strings"
)

// Word is a type with a fixed set of values.
type Word interface {
	~string
	Values() []string
}

// Check refuses a word that is none of its type's; what names the type.
func Check[T Word](what string, word T) error {
	if slices.Contains(word.Values(), string(word)) {
		return nil
	}
	return fmt.Errorf("unknown %s %q: use one of %s", what, string(word), strings.Join(word.Values(), ", "))
}

func words[T ~string](values ...T) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = string(v)
	}
	return list
}
