package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verdictd/internal/cli"
	"verdictd/internal/testkit"
	"verdictd/lab/internal/fakes"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "reference" {
		main() // of the lab that is tested, which starts itself
	}
	if !fakes.Playing() {
		testkit.Main(m)
	}
	if how := os.Getenv(confineVariable); how != "" {
		fmt.Fprintln(os.Stderr, "confine the lab:", confine(how))
		os.Exit(cli.Usage)
	}
	name := filepath.Base(os.Args[0])
	if name == "lab" {
		main()
	}
	os.Exit(fakes.Play(name))
}

func TestAllFlags(t *testing.T) {
	testkit.Commands(t, func(args ...string) (int, string) {
		var output bytes.Buffer
		status := run(t.Context(), args, streams{&output, &output})
		return status, output.String()
	})
}

// refuses has a command line refused as a wrong one, with a text that says what is wrong.
func refuses(t *testing.T, says string, args ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), args, streams{&stdout, &stderr})
	if status != cli.Usage || !strings.Contains(stderr.String(), says) {
		t.Errorf("lab %q: exit status %d, stderr %q; want %d and %q", args, status, stderr.String(), cli.Usage, says)
	}
}
