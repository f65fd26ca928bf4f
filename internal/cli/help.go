package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// complete adds to the help of every flag what it does not say: all values, the default, the form of a time, and which
// flags cannot be had together with it (tag not:"other,...", at one of the two).
func complete(n *kong.Node) {
	flags := func() (all []*kong.Flag) {
		for at := n; at != nil; at = at.Parent {
			all = append(all, at.Flags...)
		}
		return all
	}()
	for _, f := range n.Flags {
		add := func(format string, args ...any) { f.Help += " " + fmt.Sprintf(format, args...) }
		f.Help = strings.TrimSuffix(strings.TrimSpace(f.Help), ".") + "."
		if lacking := lackingValues(f); len(lacking) > 0 {
			add("One of %s.", strings.Join(lacking, ", "))
		}
		if f.IsCumulative() && !says(f, "repeat") {
			add("May be repeated.")
		}
		if _, isTime := f.Mapper.(mapper); isTime && f.FormatPlaceHolder() == timeName && f.Default == "" {
			add("A time such as 10s or 5m.")
		}
		if !says(f, "default", "without it") && hasDefault(f) {
			add("Default: %s.", f.Default)
		}
		if others := excluded(f, flags); len(others) > 0 {
			add("Not with %s.", strings.Join(others, ", "))
		}
	}
	for _, child := range n.Children {
		complete(child)
	}
}

func says(f *kong.Flag, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(f.Help), w) })
}

// hasDefault: of what is not given otherwise.
func hasDefault(f *kong.Flag) bool {
	return f.Default != "" && (!f.IsBool() || f.Default != "false")
}

// lackingValues are all of a flag's values, if its help lacks one.
func lackingValues(f *kong.Flag) []string {
	all := enumeration(f)
	if slices.ContainsFunc(all, func(v string) bool { return !strings.Contains(f.Help, v) }) {
		return all
	}
	return nil
}

// enumeration is all of a flag's values; nil: any.
func enumeration(f *kong.Flag) []string {
	if f.Enum == "" {
		return nil
	}
	return slices.DeleteFunc(f.EnumSlice(), func(v string) bool { return v == "" })
}

// excluded are the flags that cannot be had with this one, as they are written.
func excluded(f *kong.Flag, flags []*kong.Flag) (others []string) {
	for _, other := range flags {
		if other != f && (names(f, other.Name) || names(other, f.Name) ||
			slices.ContainsFunc(f.Xor, func(group string) bool { return slices.Contains(other.Xor, group) })) {
			others = append(others, "--"+other.Name)
		}
	}
	slices.Sort(others)
	return others
}

// names says whether a flag's tag excludes another.
func names(f *kong.Flag, other string) bool {
	return slices.Contains(strings.Split(f.Tag.Get("not"), ","), other)
}

// checkTogether refuses flags that were given and exclude each other.
func checkTogether(ctx *kong.Context) error {
	var given []*kong.Flag
	for _, step := range ctx.Path {
		if step.Flag != nil && !step.Resolved {
			given = append(given, step.Flag)
		}
	}
	for i, f := range given {
		if others := excluded(f, given[i+1:]); len(others) > 0 {
			return fmt.Errorf("--%s and %s exclude each other: leave one out", f.Name, others[0])
		}
	}
	return nil
}

// explain makes the words of a wrong command better: kong names some of the commands, and the nearest by letters. The
// tag kin:"other,..." of a command has words that mean it elsewhere.
func explain(err error, ctx *kong.Context) (where string, better error) {
	text := err.Error()
	node := ctx.Model.Node
	for _, step := range ctx.Path {
		if step.Node() != nil {
			node = step.Node()
		}
	}
	if len(node.Children) == 0 && node.Parent != nil && node.Parent.DefaultCmd == node {
		node = node.Parent
	}
	where = node.FullPath()
	var commands []string
	kin := ""
	word, unexpected := strings.CutPrefix(text, "unexpected argument ")
	word, _, _ = strings.Cut(word, ",")
	for _, c := range node.Children {
		if c.Hidden {
			continue
		}
		commands = append(commands, c.Name)
		if slices.Contains(strings.Split(c.Tag.Get("kin"), ","), word) {
			kin = c.Name
		}
	}
	list := strings.Join(commands, ", ")
	switch {
	case unexpected && len(commands) == 0:
		return where, fmt.Errorf("unexpected argument %s", word)
	case unexpected && kin != "":
		return where, fmt.Errorf("%s has no command %s: did you mean %s? There are %s", where, word, kin, list)
	case unexpected && !strings.Contains(text, "did you mean"):
		return where, fmt.Errorf("%s has no command %s: there are %s", where, word, list)
	case strings.HasPrefix(text, "expected one of ") && len(commands) > 0:
		return where, fmt.Errorf("%s needs a command: one of %s", where, list)
	}
	return where, err
}
