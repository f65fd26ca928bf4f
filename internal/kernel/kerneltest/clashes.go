package kerneltest

import (
	"testing"

	"verdictd/internal/kernel"
)

// CountsClashes reports whether this kernel's counters see the clashes of queued
// packets. From 4.18 to 6.11 it resolves them where a verdict puts the packet back,
// and counts nothing: there a test that provokes clashes cannot count them.
func CountsClashes(t testing.TB) bool {
	t.Helper()
	release, err := kernel.Release()
	if err != nil {
		t.Fatal(err)
	}
	build, err := kernel.Identify(kernel.Names{Release: release})
	if err != nil {
		t.Fatal(err)
	}
	switch kernel.CountersOf(build).Reinjection {
	case kernel.Fixed, kernel.NotAffected:
		return true
	}
	t.Logf("kernel %s does not count, or may not count, the clashes of queued packets", release)
	return false
}
