package vocabulary

import (
	"fmt"
	"strings"
)

// Toggle is on, off, or as another setting says.
type Toggle string

// What a toggle is set to.
const (
	Auto Toggle = "auto"
	On   Toggle = "true"
	Off  Toggle = "false"
)

// Is reports whether it is on; auto is what counts where nobody has decided.
func (t Toggle) Is(auto bool) bool {
	if t == Auto {
		return auto
	}
	return t == On
}

// UnmarshalText reads auto, true or false, the latter as YAML writes them.
func (t *Toggle) UnmarshalText(text []byte) error {
	switch s := Toggle(strings.ToLower(string(text))); s {
	case Auto, On, Off:
		*t = s
		return nil
	}
	return fmt.Errorf("must be auto, true or false, not %q", text)
}
