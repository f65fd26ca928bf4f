package cli

import (
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// TableColumns is how wide tables are at most.
const TableColumns = 100

// IsTerminal says whether what is written there is seen on a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// IsScreen says whether it is a terminal whose lines can be written again: one of TERM=dumb shows what is to move the
// cursor as characters.
func IsScreen(w io.Writer) bool {
	return IsTerminal(w) && os.Getenv("TERM") != "dumb"
}

// IsUTF8 says whether the locale has characters beyond ASCII in UTF-8. As in setlocale(3), the first of LC_ALL,
// LC_CTYPE and LANG that is set and not empty names it; without any of them it is the locale C, which has not.
func IsUTF8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := os.Getenv(name); locale != "" {
			_, codeset, _ := strings.Cut(locale, ".")
			codeset, _, _ = strings.Cut(codeset, "@")
			return strings.EqualFold(strings.ReplaceAll(codeset, "-", ""), "utf8")
		}
	}
	return false
}

// Columns is how wide a page may be that is written there: a terminal's width, or 80.
func Columns(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			return int(size.Col)
		}
	}
	return 80
}
