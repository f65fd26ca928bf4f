package main

import (
	"fmt"
	"regexp"
	"strings"
)

// pages writes manual pages in the macros of man(7).
type pages struct {
	date, version string
	programs      []string
}

// statuses are the same for all programs (internal/cli).
const statuses = `.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 1
Failed, cut short, or it found what it looks for.
.TP
.B 64
Wrong usage.
.TP
.B 78
Wrong configuration.
`

// longWord is one that a page of 80 columns may have to break, as a list without blanks is.
var longWord = regexp.MustCompile(`\S{40,}`)

// escape keeps text from being taken for a request, and hyphens from becoming something that cannot be typed.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	text = longWord.ReplaceAllStringFunc(text, func(word string) string { return strings.ReplaceAll(word, ",", `,\:`) })
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (p *pages) head(name string, section int, line string) string {
	// Lines are not stretched to one length: a long word leaves holes in them.
	return fmt.Sprintf(".TH %s %d %q %q\n.ad l\n.SH NAME\n%s \\- %s\n", strings.ToUpper(name), section, p.date, "verdictd "+p.version,
		escape(name), escape(strings.TrimSuffix(line, ".")))
}

// program is the page of a program with all of its commands.
func (p *pages) program(c command) string {
	var b strings.Builder
	line, _, _ := strings.Cut(c.Help, ". ")
	b.WriteString(p.head(c.Name, section(c.Name), line))
	b.WriteString(".SH SYNOPSIS\n")
	synopsis(&b, c, c.Name)
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", escape(c.Help))
	b.WriteString(".SH OPTIONS\n")
	options(&b, c.Flags)
	b.WriteString(".SH COMMANDS\n")
	for _, sub := range c.Commands {
		commandText(&b, sub, c.Name)
	}
	b.WriteString(statuses)
	b.WriteString(".SH SEE ALSO\n")
	var others []string
	for _, name := range []string{"verdictd", "conntrackwatch", "stress", "lab"} {
		if name != c.Name {
			others = append(others, fmt.Sprintf("\\fB%s\\fR(%d)", name, section(name)))
		}
	}
	fmt.Fprintf(&b, "%s, \\fBverdictd.yaml\\fR(5), /usr/share/doc/verdictd\n", strings.Join(others, ", "))
	return b.String()
}

// synopsis has a line for each command that can be run.
func synopsis(b *strings.Builder, c command, way string) {
	if len(c.Commands) > 0 {
		for _, sub := range c.Commands {
			synopsis(b, sub, way+" "+sub.Name)
		}
		return
	}
	fmt.Fprintf(b, ".B %s\n", escape(way))
	for _, f := range c.Flags {
		if f.Required {
			fmt.Fprintf(b, ".B %s\n", escape(spelled(f)))
		}
	}
	b.WriteString("[options]")
	for _, a := range c.Arguments {
		b.WriteString(" " + escape(argumentText(a)))
	}
	b.WriteString("\n.br\n")
}

func argumentText(a argument) string {
	text := "<" + a.Name + ">"
	if a.Repeated {
		text += " ..."
	}
	if !a.Required {
		text = "[" + text + "]"
	}
	return text
}

func commandText(b *strings.Builder, c command, way string) {
	way += " " + c.Name
	fmt.Fprintf(b, ".SS %s\n%s\n", escape(way), escape(c.Help))
	if c.Detail != "" {
		fmt.Fprintf(b, ".PP\n%s\n", escape(c.Detail))
	}
	for _, a := range c.Arguments {
		fmt.Fprintf(b, ".TP\n.I %s\n%s\n", escape(argumentText(a)), escape(a.Help))
	}
	options(b, c.Flags)
	for _, sub := range c.Commands {
		commandText(b, sub, way)
	}
}

// spelled is a flag with what stands for its value.
func spelled(f option) string {
	name := "--" + f.Name
	if f.Negatable {
		name = "--[no-]" + f.Name
	}
	if f.Value != "" {
		name += "=" + f.Value
	}
	return name
}

func options(b *strings.Builder, flags []option) {
	for _, f := range flags {
		name := spelled(f)
		if f.Short != "" {
			name = "-" + f.Short + ", " + name
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", escape(name), escape(f.Help))
	}
}

// configuration is the page of verdictd.yaml: the file itself, which has every key with its default and what it does.
func (p *pages) configuration(text string) string {
	var b strings.Builder
	b.WriteString(p.head("verdictd.yaml", 5, "configuration of verdictd"))
	b.WriteString(`.SH DESCRIPTION
.BR verdictd (8)
reads
.IR /etc/verdictd/verdictd.yaml .
It says only what differs from the defaults below: a file that is empty is one, too. A key that does not exist is an
error.
.B verdictd check
lists every problem.
.SH KEYS
.nf
`)
	b.WriteString(escape(strings.TrimRight(text, "\n")))
	b.WriteString("\n.fi\n.SH SEE ALSO\n\\fBverdictd\\fR(8), /usr/share/doc/verdictd\n")
	return b.String()
}
