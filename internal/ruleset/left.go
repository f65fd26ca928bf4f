package ruleset

import (
	"fmt"
)

// Left is a table that a process left behind, for who takes its rules out. Its rules cannot be changed with it, and its
// gate's neither.
//
// Errors: ErrNotFound and ErrForeign where there is none, or somebody else's.
func Left(name string) (*Installed, error) {
	if _, err := find(name); err != nil {
		return nil, fmt.Errorf("table inet %s: %w", name, err)
	}
	return &Installed{table: name}, nil
}
