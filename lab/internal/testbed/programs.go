package testbed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Programs are the binaries that the lab starts.
type Programs struct {
	Verdictd, Stress, Conntrackwatch string
}

// FindPrograms looks for them in a directory, or beside the lab's own binary where none is given.
func FindPrograms(dir string) (Programs, error) {
	if dir == "" {
		executable, err := os.Executable()
		if err != nil {
			return Programs{}, fmt.Errorf("find the lab's own executable, beside which the other programs are: %w", err)
		}
		dir = filepath.Dir(executable)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Programs{}, fmt.Errorf("find the programs in %s: %w", dir, err)
	}
	var p Programs
	var missing []string
	for name, path := range map[string]*string{"verdictd": &p.Verdictd, "stress": &p.Stress,
		"conntrackwatch": &p.Conntrackwatch} {
		found, err := exec.LookPath(filepath.Join(dir, name))
		if err != nil {
			missing = append(missing, name)
		}
		*path = found
	}
	if len(missing) > 0 {
		return Programs{}, fmt.Errorf("no %s in %s: build the programs (make build) and use bin/lab, or say with "+
			"--bin where they are", strings.Join(missing, ", no "), dir)
	}
	return p, nil
}

// versions asks each program for its own.
func (p Programs) versions(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	for _, program := range []string{p.Verdictd, p.Stress, p.Conntrackwatch} {
		name := filepath.Base(program)
		ctx, cancel := context.WithTimeout(ctx, ReadyWithin)
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

// FindReference looks for the C program where it was said to be, or else beside the lab's programs.
func (p Programs) FindReference(path string) (string, error) {
	if path == "" {
		path = filepath.Join(filepath.Dir(p.Verdictd), referenceName)
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return "", fmt.Errorf("the program on libnetfilter_queue is not there: %w (make references builds it where "+
			"there are cc and, on Debian, libnetfilter-queue-dev)", err)
	}
	return found, nil
}
