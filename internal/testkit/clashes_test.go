package testkit_test

import (
	"testing"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/testkit"
)

// TestCountsClashes holds the answer against the release's first two numbers.
func TestCountsClashes(t *testing.T) {
	release, err := kernelfacts.Release()
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := kernelfacts.ParseVersion(release)
	if err != nil {
		t.Fatal(err)
	}
	silent := v.Compare(kernelfacts.V(4, 18, 0)) >= 0 && v.Compare(kernelfacts.V(6, 12, 0)) < 0
	if counts := testkit.CountsClashes(t); counts && silent {
		t.Errorf("%s is said to count clashes", release)
	} else if !counts && v.Compare(kernelfacts.V(6, 12, 0)) >= 0 {
		t.Errorf("%s is said not to count clashes", release)
	}
}
