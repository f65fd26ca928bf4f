package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"verdictd/internal/cli"
	"verdictd/lab/internal/kernels"
	"verdictd/lab/internal/vm"
)

// Config says what runs in the machine.
type Config struct {
	kernels.Machine
	Load    []string // modules to load as well, with what they depend on
	Files   []string // of this machine, HOST[:GUEST]
	Env     []string // of the command
	Timeout time.Duration
	Console bool   // show the kernel's console among the remarks
	Out     string // the folder for what the command leaves, "" for nowhere
	Command []string
}

// Schema is the version of the document of `lab kernel run --json`.
const Schema = 1

// Result is the document of `lab kernel run --json`.
type Result struct {
	Schema  int           `json:"schema"`
	Image   kernels.Image `json:"image"`
	Command []string      `json:"command"`
	*vm.Result
	Stdout  string   `json:"stdout"`
	Stderr  string   `json:"stderr"`
	Outputs []string `json:"outputs"` // the names of the files that the command left
}

// Run boots the kernel and runs the command, whose output goes to stdout while it comes, if that is not nil. Remarks
// and the command's errors go to stderr.
func Run(ctx context.Context, c *Config, stdout, stderr io.Writer) (*Result, error) {
	image, config, err := c.Prepare(ctx, stderr)
	if err != nil {
		return nil, err
	}
	for _, f := range c.Files {
		host, guest, _ := strings.Cut(f, ":")
		if host, err = filepath.Abs(host); err != nil {
			return nil, err
		}
		config.Files = append(config.Files, vm.File{Host: host, Guest: guest})
	}
	config.ModuleNames = append(config.ModuleNames, c.Load...)
	config.Command, config.Env, config.Timeout = c.Command, c.Env, c.Timeout
	shown := cli.NewProgress(stderr)
	defer shown.End()
	shown.Part(0, "the machine boots and runs %s, for %v at most", strings.Join(c.Command, " "), c.Timeout)
	// From its first word on the command has the terminal for itself.
	over := sync.OnceFunc(shown.End)
	if stdout != nil {
		stdout = &telling{stdout, over}
	}
	stderr = &telling{stderr, over}
	config.Stdout, config.Stderr = stdout, stderr
	if c.Console {
		config.Console = stderr
	}
	result, err := vm.Run(ctx, config)
	if err != nil {
		return nil, err
	}
	run := &Result{
		Schema: Schema, Image: image, Command: c.Command, Result: result,
		Stdout: string(result.Stdout), Stderr: string(result.Stderr), Outputs: []string{},
	}
	for name := range result.Outputs {
		run.Outputs = append(run.Outputs, name)
	}
	return run, writeOutputs(c.Out, result.Outputs)
}

// telling says that something is written.
type telling struct {
	io.Writer
	tell func()
}

func (t *telling) Write(p []byte) (int, error) {
	t.tell()
	return t.Writer.Write(p)
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
