package testkit

import (
	"testing"

	"verdictd/internal/kernelfacts"
)

// CountsClashes reports whether this kernel's counters see the clashes of queued
// packets. From 4.18 to 6.11 it resolves them where a verdict puts the packet back,
// and counts nothing: there a test that provokes clashes cannot count them.
func CountsClashes(t testing.TB) bool {
	t.Helper()
	release, err := kernelfacts.Release()
	if err != nil {
		t.Fatal(err)
	}
	build, err := kernelfacts.Identify(kernelfacts.Names{Release: release})
	if err != nil {
		t.Fatal(err)
	}
	switch kernelfacts.CountersOf(build).Reinjection {
	case kernelfacts.Fixed, kernelfacts.NotAffected:
		return true
	}
	t.Logf("kernel %s does not count, or may not count, the clashes of queued packets", release)
	return false
}
