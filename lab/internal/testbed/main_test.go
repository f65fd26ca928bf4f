package testbed

import (
	"os"
	"path/filepath"
	"testing"

	"verdictd/internal/testkit"
	"verdictd/lab/internal/fakes"
)

func TestMain(m *testing.M) {
	if fakes.Playing() {
		os.Exit(fakes.Play(filepath.Base(os.Args[0])))
	}
	testkit.Main(m)
}
