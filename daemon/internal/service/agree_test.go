package service

import (
	"fmt"
	"testing"

	"verdictd/daemon/internal/audit"
	"verdictd/daemon/internal/childtest"
	"verdictd/internal/vocabulary"
)

// TestAuditFindsNothing: whatever a daemon's rules are, and whether or not others have connections tracked, who looks
// at the machine finds no packets that may clash.
func TestAuditFindsNothing(t *testing.T) {
	ns := namespaceWithoutConntrack(t)
	r := newReloadable(t, ns, "run", "")
	for tracked := range 2 {
		if tracked == 1 {
			childtest.NFT(t, ns, "table inet tracks { chain c { type filter hook output priority 0; ct state invalid; }; }")
		}
		for _, placement := range vocabulary.Placements() {
			for _, policy := range []string{"", "flow: true", "default: reject"} {
				if policy == "flow: true" && !placement.Exposed() || policy != "" && placement == vocabulary.PlacementNone {
					continue // check refuses them
				}
				for _, protocols := range []string{"udp", "udp, tcp"} {
					text := fmt.Sprintf("rules: {placement: %s, protocols: [%s]}\npolicy: {%s}\n", placement, protocols, policy)
					r.done(text)
					asked, err := r.client.Audit(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if a := audit.Judge(audit.Read(t.Context(), asked.Daemons)); a.Verdict != audit.NotExposed {
						t.Errorf("tracked by others %d, %s: %s; the guard is %+v", tracked, text, a.Sentence, r.status().Guard)
					}
				}
			}
		}
	}
	r.Stop()
}
