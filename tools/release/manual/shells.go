package main

import (
	"fmt"
	"strings"
)

// A place is a command with the words that lead to it, and the flags that count there.
type place struct {
	way   string // "verdictd rules show"
	at    command
	flags []option
}

// places are all commands, the program first.
func places(c command) []place {
	var list []place
	var walk func(c command, way string, above []option)
	walk = func(c command, way string, above []option) {
		flags := append(append([]option{}, above...), c.Flags...)
		list = append(list, place{way, c, flags})
		for _, sub := range c.Commands {
			walk(sub, way+" "+sub.Name, flags)
		}
	}
	walk(c, c.Name, nil)
	return list
}

// words are what can be typed for a flag.
func (f *option) words() []string {
	words := []string{"--" + f.Name}
	if f.Negatable {
		words = append(words, "--no-"+f.Name)
	}
	if f.Short != "" {
		words = append(words, "-"+f.Short)
	}
	return words
}

// quoted is text between the single quotes of sh and zsh.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// brief is a help text's first sentence.
func brief(help string) string {
	line, _, _ := strings.Cut(help, ". ")
	return strings.TrimSuffix(line, ".")
}

// bash walks over the words before the cursor to find the command, and offers what that takes. A value after a space or
// an equals sign, which bash makes a word of its own, is completed the same.
func bash(c command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Completion of %s for bash; generated.\n_%[1]s() {\n", c.Name)
	b.WriteString(`	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} way=` + c.Name + ` i
	if [[ $word == = ]]; then word=; elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case "$way ${COMP_WORDS[i]}" in
`)
	all := places(c)
	for _, p := range all[1:] {
		fmt.Fprintf(&b, "		%s) way=%s ;;\n", quoted(p.way), quoted(p.way))
	}
	b.WriteString("		esac\n	done\n	COMPREPLY=()\n	case \"$way $before\" in\n")
	for _, p := range all {
		for _, f := range p.flags {
			for _, w := range f.words() {
				switch {
				case f.Value == "" || strings.HasPrefix(w, "--no-"):
				case len(f.Values) > 0:
					fmt.Fprintf(&b, "	%s) COMPREPLY=($(compgen -W %s -- \"$word\")); return ;;\n", quoted(p.way+" "+w),
						quoted(strings.Join(f.Values, " ")))
				case f.File:
					fmt.Fprintf(&b, "	%s) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n", quoted(p.way+" "+w))
				default:
					fmt.Fprintf(&b, "	%s) return ;;\n", quoted(p.way+" "+w))
				}
			}
		}
	}
	b.WriteString("	esac\n	case $way in\n")
	for _, p := range all {
		var words []string
		for _, sub := range p.at.Commands {
			words = append(words, sub.Name)
		}
		for _, f := range p.flags {
			words = append(words, f.words()...)
		}
		fmt.Fprintf(&b, "	%s) COMPREPLY=($(compgen -W %s -- \"$word\")) ;;\n", quoted(p.way), quoted(strings.Join(words, " ")))
	}
	fmt.Fprintf(&b, "	esac\n}\ncomplete -o bashdefault -o default -F _%[1]s %[1]s\n", c.Name)
	return b.String()
}

// zsh has a function for each command, which _arguments drives.
func zsh(c command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#compdef %s\n# Completion for zsh; generated.\n", c.Name)
	for _, p := range places(c) {
		name := "_" + strings.ReplaceAll(p.way, " ", "__")
		fmt.Fprintf(&b, "\n%s() {\n", name)
		if len(p.at.Commands) > 0 {
			b.WriteString("	local curcontext=$curcontext state line\n")
		}
		b.WriteString("	_arguments -S")
		if len(p.at.Commands) > 0 {
			b.WriteString(" -C")
		}
		for _, f := range p.flags {
			for _, w := range f.words() {
				b.WriteString(" \\\n		" + zshFlag(f, w))
			}
		}
		if len(p.at.Commands) == 0 {
			b.WriteString(" \\\n		'*:argument:_files'\n}\n")
			continue
		}
		b.WriteString(" \\\n		'1: :->command' '*:: :->rest'\n	case $state in\n	command)\n		local -a commands=(\n")
		for _, sub := range p.at.Commands {
			fmt.Fprintf(&b, "			%s\n", quoted(sub.Name+":"+strings.ReplaceAll(brief(sub.Help), ":", `\:`)))
		}
		b.WriteString("		)\n		_describe command commands ;;\n	rest)\n		case $line[1] in\n")
		for _, sub := range p.at.Commands {
			fmt.Fprintf(&b, "		%s) %s__%s ;;\n", sub.Name, name, sub.Name)
		}
		b.WriteString("		esac ;;\n	esac\n}\n")
	}
	fmt.Fprintf(&b, "\n_%s \"$@\"\n", c.Name)
	return b.String()
}

func zshFlag(f option, word string) string {
	help := strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`).Replace(brief(f.Help))
	takes := f.Value != "" && !strings.HasPrefix(word, "--no-")
	if takes && strings.HasPrefix(word, "--") {
		word += "="
	}
	spec := word + "[" + help + "]"
	switch {
	case !takes:
	case len(f.Values) > 0:
		spec += ":value:(" + strings.Join(f.Values, " ") + ")"
	case f.File:
		spec += ":file:_files"
	default:
		spec += ":value: "
	}
	return quoted(spec)
}

// fish has a line for each word, with the condition under which it is offered.
func fish(c command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Completion of %s for fish; generated.\n", c.Name)
	escape := func(text string) string { return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'" }
	for _, p := range places(c) {
		var names []string
		for _, sub := range p.at.Commands {
			names = append(names, sub.Name)
		}
		_, way, _ := strings.Cut(p.way, " ")
		var seen []string
		for _, word := range strings.Fields(way) {
			seen = append(seen, "__fish_seen_subcommand_from "+word)
		}
		deeper := ""
		if len(names) > 0 {
			deeper = "not __fish_seen_subcommand_from " + strings.Join(names, " ")
		}
		here := strings.Join(append(seen, nonEmpty(deeper)...), "; and ")
		for _, sub := range p.at.Commands {
			fmt.Fprintf(&b, "complete -c %s -f -n %s -a %s -d %s\n", c.Name, escape(here), sub.Name, escape(brief(sub.Help)))
		}
		for _, f := range p.at.Flags {
			line := fmt.Sprintf("complete -c %s", c.Name)
			if len(seen) > 0 {
				line += " -n " + escape(strings.Join(seen, "; and "))
			}
			values := ""
			switch {
			case len(f.Values) > 0:
				values = " -x -a " + escape(strings.Join(f.Values, " "))
			case f.File:
				values = " -r -F"
			case f.Value != "":
				values = " -x"
			}
			if f.Short != "" {
				line += " -s " + f.Short
			}
			fmt.Fprintf(&b, "%s -l %s%s -d %s\n", line, f.Name, values, escape(brief(f.Help)))
			if f.Negatable {
				fmt.Fprintf(&b, "%s -l no-%s -d %s\n", line, f.Name, escape(brief(f.Help)))
			}
		}
	}
	return b.String()
}

func nonEmpty(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}
