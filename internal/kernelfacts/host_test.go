package kernelfacts_test

import (
	"os"
	"strings"
	"testing"

	"verdictd/internal/kernelfacts"
)

func TestRelease(t *testing.T) {
	want, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	got, err := kernelfacts.Release()
	if err != nil || got != strings.TrimSpace(string(want)) {
		t.Errorf("Release() = %q, %v, want %q", got, err, want)
	}
}
