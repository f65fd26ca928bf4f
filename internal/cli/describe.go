package cli

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// describe has the hidden flags of every program: --describe, of which manual pages and completions are made, and
// --parse, which holds a command line in a document against what the program takes. So these cannot differ.
type describe struct {
	Describe describeFlag `hidden:"" help:"Print the commands and flags as JSON."`
	Parse    parseFlag    `hidden:"" help:"Say what is wrong with the command line, and run nothing."`
}

type parseFlag bool

// errParsed ends a command line that is right and is not to be run.
var errParsed = errors.New("parsed")

// BeforeReset is called by kong when it knows what the words are: the values are still to be looked at, without the
// hooks of commands, which open namespaces.
func (parseFlag) BeforeReset(ctx *kong.Context) error {
	if err := ctx.Reset(); err != nil {
		return err
	}
	if _, err := ctx.Apply(); err != nil {
		return err
	}
	if err := ctx.Validate(); err != nil {
		return err
	}
	if err := checkTogether(ctx); err != nil {
		return err
	}
	return errParsed
}

type describeFlag bool

// BeforeReset is called by kong, before anything that is required can be missing.
func (describeFlag) BeforeReset(app *kong.Kong) error {
	encoder := json.NewEncoder(app.Stdout)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(describeNode(app.Model.Node)); err != nil {
		return err
	}
	app.Exit(Done)
	return nil
}

// described is a program or one of its commands.
type described struct {
	Name      string      `json:"name"`
	Help      string      `json:"help"`
	Detail    string      `json:"detail,omitempty"`
	Arguments []argument  `json:"arguments,omitempty"`
	Flags     []flag      `json:"flags,omitempty"` // those of the commands above it are not repeated
	Commands  []described `json:"commands,omitempty"`
}

type argument struct {
	Name     string `json:"name"`
	Help     string `json:"help"`
	Required bool   `json:"required,omitempty"`
	Repeated bool   `json:"repeated,omitempty"`
}

type flag struct {
	Name      string `json:"name"`
	Short     string `json:"short,omitempty"`
	Help      string `json:"help"`
	Required  bool   `json:"required,omitempty"`
	Negatable bool   `json:"negatable,omitempty"` // there is --no-NAME as well
	// Value is what stands for the value in help texts, "" where there is none.
	Value   string   `json:"value,omitempty"`
	Values  []string `json:"values,omitempty"` // all there are, where that is a list
	File    bool     `json:"file,omitempty"`   // the value is the name of a file or folder
	Default string   `json:"default,omitempty"`
	// Kind is time, number or address where the value is one.
	Kind string `json:"kind,omitempty"`
}

// describeNode leaves out what is hidden.
func describeNode(n *kong.Node) described {
	d := described{Name: n.Name, Help: n.Help, Detail: n.Detail}
	for _, p := range n.Positional {
		d.Arguments = append(d.Arguments, argument{Name: p.Name, Help: p.Help, Required: p.Required, Repeated: p.IsCumulative()})
	}
	for _, f := range n.Flags {
		if !f.Hidden {
			d.Flags = append(d.Flags, describeOne(f))
		}
	}
	for _, c := range n.Children {
		if !c.Hidden {
			d.Commands = append(d.Commands, describeNode(c))
		}
	}
	return d
}

func describeOne(f *kong.Flag) flag {
	d := flag{Name: f.Name, Help: f.Help, Required: f.Required, Negatable: f.Tag.Negatable != ""}
	if f.Short != 0 {
		d.Short = string(f.Short)
	}
	if f.IsBool() {
		return d
	}
	d.Value, d.Default = f.FormatPlaceHolder(), f.Default
	switch f.Tag.Type {
	case "path", "existingfile", "existingdir", "filecontent":
		d.File = true
	}
	d.File = d.File || strings.HasPrefix(d.Value, "FILE") || strings.HasPrefix(d.Value, "DIR")
	d.Values, d.Kind = enumeration(f), kindOf(f.Target.Type())
	return d
}

// kindOf is what a value of a type is, or one of several.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return kindOf(t.Elem())
	case reflect.Int, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float64:
		return "number"
	}
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "time"
	case reflect.TypeFor[netip.Addr]():
		return "address"
	}
	return ""
}
