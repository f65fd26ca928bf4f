package convert

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"verdictd/daemon/internal/policy/bytematch"
	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

// MaxBytes is the most that a file of rules may have.
const MaxBytes = 32 << 20

const (
	// maxConfig is what a configuration may have, in bytes.
	maxConfig = 1 << 20
	// logged is how many packets a second a rule logs that logs in the original, which has no bound there.
	logged = 100
	// allPayload is as much as a packet may have.
	allPayload = 65535
)

// Options are the choices there are.
type Options struct {
	// ByLabel takes a name that ends with example.org for example.org and the names below it.
	ByLabel bool
	// Variables are Suricata's address and port groups, by their names without the $.
	Variables map[string]string
}

// Result is what became of a file.
type Result struct {
	// Config is a configuration that config.Parse accepts.
	Config []byte
	// Taken is how many rules of the file are in there, and Rules how many it has itself.
	Taken, Rules int
	Left         []Left
	Notes        []Note
}

// Left is a rule that was not taken over.
type Left struct {
	Line      int
	Rule, Why string
}

// Note is a difference that the rules of some lines have.
type Note struct {
	Text  string
	Lines []int
}

// source is a rule of a file while it is converted.
type source struct {
	line  int
	name  string
	notes []string
}

func (s *source) note(text string) {
	if !slices.Contains(s.notes, text) {
		s.notes = append(s.notes, text)
	}
}

// staged is a rule with its place: lower stages come first, in the order of the file within one.
type staged struct {
	stage int
	rule  config.Rule
}

// collector gathers what becomes of rules.
type collector struct {
	result      Result
	rules       []staged
	regexpBytes int
}

// output is what is written.
type output struct {
	Policy outputPolicy `yaml:"policy"`
}

type outputPolicy struct {
	Default     vocabulary.Action `yaml:"default"`
	Undecodable vocabulary.Action `yaml:"undecodable"`
	RegexpBytes int               `yaml:"regexp_bytes,omitempty"`
	Rules       []config.Rule     `yaml:"rules,omitempty"`
}

// leave names a rule that is not taken over.
func (c *collector) leave(s *source, why string) {
	c.result.Left = append(c.result.Left, Left{s.line, s.name, oneLine(why)})
}

// take takes over what became of a rule, unless the language refuses it.
func (c *collector) take(s *source, rules []staged, regexpBytes int) {
	for i := range rules {
		if err := accepted(&rules[i].rule, regexpBytes); err != nil {
			c.leave(s, err.Error())
			return
		}
	}
	c.result.Taken++
	c.rules = append(c.rules, rules...)
	c.regexpBytes = max(c.regexpBytes, regexpBytes)
	for _, text := range s.notes {
		i := slices.IndexFunc(c.result.Notes, func(n Note) bool { return n.Text == text })
		if i < 0 {
			i = len(c.result.Notes)
			c.result.Notes = append(c.result.Notes, Note{Text: text})
		}
		c.result.Notes[i].Lines = append(c.result.Notes[i].Lines, s.line)
	}
}

// end writes the configuration.
func (c *collector) end() (*Result, error) {
	slices.SortStableFunc(c.rules, func(a, b staged) int { return a.stage - b.stage })
	var rules []config.Rule
	for i := range c.rules {
		rules = append(rules, c.rules[i].rule)
	}
	text, err := write(rules, c.regexpBytes)
	if err != nil {
		return nil, err
	}
	if len(text) > maxConfig {
		return nil, fmt.Errorf("the configuration would have %d bytes, more than the %d that one may have: convert the file in parts, which policy.include names", len(text), maxConfig)
	}
	if _, err := config.Parse("configuration", text); err != nil {
		return nil, fmt.Errorf("the rules do not go together: %w", err)
	}
	c.result.Config = text
	return &c.result, nil
}

func write(rules []config.Rule, regexpBytes int) ([]byte, error) {
	var b bytes.Buffer
	err := yaml.NewEncoder(&b, yaml.IndentSequence(true)).Encode(output{outputPolicy{
		Default: vocabulary.Accept, Undecodable: vocabulary.Accept, RegexpBytes: regexpBytes, Rules: rules,
	}})
	return b.Bytes(), err
}

// accepted reports why a rule cannot be in a policy.
func accepted(r *config.Rule, regexpBytes int) error {
	if err := compiles(&r.Match, 0); err != nil {
		return err
	}
	text, err := write([]config.Rule{*r}, regexpBytes)
	if err != nil {
		return err
	}
	if _, err := config.Parse("rule", text); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		_, why, _ := strings.Cut(first, ": ")
		return fmt.Errorf("the policy refuses what it would be: %s", why)
	}
	return nil
}

// maxNesting is how many matches a policy may have within each other.
const maxNesting = 8

// compiles reports what is too deep, or an expression that is too much for each packet.
func compiles(m *config.Match, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("it is more than %d deep: split it", maxNesting)
	}
	if m.Regexp != "" {
		if _, err := bytematch.Compile(m.Regexp); err != nil {
			return fmt.Errorf("regexp %q: %w", m.Regexp, err)
		}
	}
	inner := slices.Concat(m.Any, m.All)
	if m.Not != nil {
		inner = append(inner, *m.Not)
	}
	for i := range inner {
		if err := compiles(&inner[i], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// oneLine is a text without line ends and control characters, and of a length that can be read.
func oneLine(text string) string {
	const most = 300
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "..."
	}
	return strings.TrimSpace(text)
}
