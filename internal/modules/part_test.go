package modules_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/modules"
	"verdictd/internal/testkit"
)

// The real kernel has what the product needs. The request that asks for it must never be answered with EINVAL, which
// would be taken for its absence.
func TestAskRealKernel(t *testing.T) {
	testkit.Namespace(t)
	for _, part := range []modules.Part{modules.PartQueue, modules.PartConntrack, modules.PartTables} {
		for range 3 { // each time again, as nothing stays
			if err := part.Ask(); err != nil {
				t.Errorf("%s: %v", part.Name, err)
			}
		}
	}
	if err := modules.Load(t.Context(), modules.PartQueue, modules.PartTables); err != nil {
		t.Error(err)
	}
}

// A protocol that no kernel has, and one that all have.
func TestAskProtocol(t *testing.T) {
	for name, want := range map[string]error{"0": nil, "29": modules.ErrNotThere} {
		part, err := modules.ProtocolPart(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := part.Ask(); !errors.Is(err, want) || (want != nil) != errors.Is(err, unix.EPROTONOSUPPORT) {
			t.Errorf("protocol %s: %v, want %v", name, err, want)
		}
	}
}
