package kerneltest_test

import (
	"testing"

	"verdictd/internal/kernel"
	"verdictd/internal/kernel/kerneltest"
)

// TestCountsClashes holds the answer against the release's first two numbers.
func TestCountsClashes(t *testing.T) {
	release, err := kernel.Release()
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := kernel.ParseVersion(release)
	if err != nil {
		t.Fatal(err)
	}
	silent := v.Compare(kernel.V(4, 18, 0)) >= 0 && v.Compare(kernel.V(6, 12, 0)) < 0
	if counts := kerneltest.CountsClashes(t); counts && silent {
		t.Errorf("%s is said to count clashes", release)
	} else if !counts && v.Compare(kernel.V(6, 12, 0)) >= 0 {
		t.Errorf("%s is said not to count clashes", release)
	}
}
