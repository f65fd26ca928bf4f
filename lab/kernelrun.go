package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/vm"
)

// kernelRunCmd is `lab kernel run`.
type kernelRunCmd struct {
	machine
	Load    []string      `help:"A module to load as well, with what it depends on. May be repeated." placeholder:"MODULE"`
	File    []string      `help:"A file or folder of this machine to put into the guest. May be repeated; dynamic programs bring their libraries." placeholder:"HOST[:GUEST]" sep:"none"`
	Env     []string      `help:"A variable of the command. May be repeated." placeholder:"NAME=VALUE" sep:"none"`
	Timeout time.Duration `help:"How long all of it may take." default:"5m"`
	Console bool          `help:"Show the kernel's console on stderr."`
	Out     string        `help:"Write what the command left in /out to this folder." type:"path" placeholder:"DIR"`
	JSON    string        `name:"json" help:"Write how it went as JSON to FILE; - writes it to stdout, in place of the command's output." placeholder:"FILE"`
	Command []string      `arg:"" passthrough:"" help:"What to run, after --."`
}

// kernelRun is the JSON result.
type kernelRun struct {
	Schema  int      `json:"schema"`
	Image   image    `json:"image"`
	Command []string `json:"command"`
	*vm.Result
	Stdout  string   `json:"stdout"`
	Stderr  string   `json:"stderr"`
	Outputs []string `json:"outputs"` // the names of the files that the command left
}

// Run is called by kong.
func (c *kernelRunCmd) Run(ctx context.Context, std streams) error {
	if len(c.Command) > 0 && c.Command[0] == "--" {
		c.Command = c.Command[1:]
	}
	image, config, err := c.config(ctx, std.err)
	if err != nil {
		return err
	}
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	for _, f := range c.File {
		host, guest, _ := strings.Cut(f, ":")
		if host, err = filepath.Abs(host); err != nil {
			return err
		}
		config.Files = append(config.Files, vm.File{Host: host, Guest: guest})
	}
	config.ModuleNames = append(config.ModuleNames, c.Load...)
	config.Command, config.Env, config.Timeout = c.Command, c.Env, c.Timeout
	config.Stdout, config.Stderr = std.out, std.err
	if c.JSON == "-" {
		config.Stdout = nil
	}
	if c.Console {
		config.Console = std.err
	}
	result, err := vm.Run(ctx, config)
	if err != nil {
		return err
	}
	run := kernelRun{Schema: 1, Image: image, Command: c.Command, Result: result, Stdout: string(result.Stdout), Stderr: string(result.Stderr), Outputs: []string{}}
	for name := range result.Outputs {
		run.Outputs = append(run.Outputs, name)
	}
	if err := writeOutputs(c.Out, result.Outputs); err != nil {
		return err
	}
	if c.JSON != "" {
		err = std.writeDocument(c.JSON, run)
		if err != nil {
			return err
		}
	}
	return run.end(std.err)
}

// end says how it went where the command's exit status does not.
func (r *kernelRun) end(w io.Writer) error {
	for _, report := range r.Reports {
		fmt.Fprintf(w, "lab: the kernel reported: %s\n", report.Title)
	}
	switch {
	case r.Ended == vm.EndedExited && r.ExitStatus == 0:
		return nil
	case r.Ended == vm.EndedExited:
		return cli.ExitStatus(r.ExitStatus)
	case r.Ended == vm.EndedPanic:
		fmt.Fprintln(w, "lab: the kernel panicked; --console shows why")
	default:
		fmt.Fprintf(w, "lab: %s: %s\n", r.Ended, r.Reason)
	}
	return cli.ErrReported
}

// writeOutputs writes the files of a guest below a folder. Their names are the guest's: they must not lead out of it.
func writeOutputs(dir string, files map[string][]byte) (err error) {
	if dir == "" || len(files) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for name, b := range files {
		if err := root.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			return fmt.Errorf("write the guest's files: %w", err)
		}
		if err := root.WriteFile(name, b, 0o644); err != nil {
			return fmt.Errorf("write the guest's files: %w", err)
		}
	}
	return nil
}
