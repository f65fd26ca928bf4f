package gate

import (
	"testing"
	"unsafe"
)

// What docs/guard.md says of the memory that a table takes; all of it at once.
func TestMemory(t *testing.T) {
	const links = 5 // arrays of them
	flowBytes := unsafe.Sizeof(flow{}) + links*unsafe.Sizeof(link{}) + unsafe.Sizeof(Table{}.buckets[0]) + unsafe.Sizeof(Table{}.touches[0])
	heldBytes := unsafe.Sizeof(held{})
	cfg := Default()
	packets := uintptr(cfg.Bytes/packetOverhead + 1)
	t.Logf("%d bytes a flow, %d a held packet, %.1f MB by default", flowBytes, heldBytes,
		float64(uintptr(cfg.Flows)*flowBytes+packets*heldBytes)/1e6)
	if flowBytes >= 250 || heldBytes > 32 {
		t.Error("more than the documentation says")
	}
}
