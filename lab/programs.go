package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// programs are the binaries that the lab starts.
type programs struct {
	verdictd, stress, conntrackwatch string
}

// findPrograms looks for them in a directory, or beside the lab's own binary where none is given.
func findPrograms(dir string) (programs, error) {
	if dir == "" {
		executable, err := os.Executable()
		if err != nil {
			return programs{}, fmt.Errorf("find the lab's own executable, beside which the other programs are: %w", err)
		}
		dir = filepath.Dir(executable)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return programs{}, fmt.Errorf("find the programs in %s: %w", dir, err)
	}
	var p programs
	var missing []string
	for name, path := range map[string]*string{"verdictd": &p.verdictd, "stress": &p.stress, "conntrackwatch": &p.conntrackwatch} {
		found, err := exec.LookPath(filepath.Join(dir, name))
		if err != nil {
			missing = append(missing, name)
		}
		*path = found
	}
	if len(missing) > 0 {
		return programs{}, fmt.Errorf("no %s in %s: build the programs (make build) and use bin/lab, or say with --bin where they are", strings.Join(missing, ", no "), dir)
	}
	return p, nil
}

// versions asks each program for its own.
func (p programs) versions(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	for _, program := range []string{p.verdictd, p.stress, p.conntrackwatch} {
		name := filepath.Base(program)
		ctx, cancel := context.WithTimeout(ctx, readyWithin)
		text, err := exec.CommandContext(ctx, program, "--version").Output()
		cancel()
		if err != nil {
			return nil, fmt.Errorf("ask %s for its version: %w", program, err)
		}
		out[name] = strings.TrimSpace(strings.TrimPrefix(string(text), name+" "))
	}
	return out, nil
}

// referenceName is what make calls the C program.
const referenceName = "nfq_reference"

// findReference looks for the C program where it was said to be, or else beside the lab's programs.
func (p programs) findReference(path string) (string, error) {
	if path == "" {
		path = filepath.Join(filepath.Dir(p.verdictd), referenceName)
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return "", fmt.Errorf("the program on libnetfilter_queue is not there: %w (make references builds it where there are cc and, on Debian, libnetfilter-queue-dev)", err)
	}
	return found, nil
}
