package translate

import (
	"cmp"
	"fmt"

	"verdictd/daemon/internal/policy"
	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

// Copied is how much of each packet the kernel is to copy to the daemon.
type Copied struct {
	Bytes uint32
	// Auto: that is by what the policy looks at.
	Auto bool
	// Why is what that is, in words.
	Why string
}

// usualHeaders is room for the headers before a payload as they usually are: an IPv6 header, some
// extension headers, and TCP's with all options. Who writes a number decides what becomes of packets
// with longer ones.
const usualHeaders = 40 + 64 + 60

// CopiedBy says how much is copied for a policy that looks at something. A number has to be enough for that.
//
// Errors: Problems.
func CopiedBy(cfg *config.Config, needs policy.Needs) (Copied, Problems) {
	r := cfg.Queues.CopyRange
	bytes, why := needs.CopyRange()
	refused := func(format string, args ...any) Problems {
		return Problems{{Key: "queues.copy_range", Text: fmt.Sprintf(format, args...), OfFile: true}}
	}
	switch least := needs.Payload + usualHeaders; {
	case r == config.CopyAuto && cfg.Backend == vocabulary.BackendGoNFQueue:
		// The library tells the kernel at the binding alone, and a later policy may look further.
		return Copied{vocabulary.MaxCopyRange, true, "all, as the backend gonfqueue cannot change it"}, nil
	case r == config.CopyAuto:
		return Copied{bytes, true, why}, nil
	case r > 0 && needs.Names:
		return Copied{}, refused("cuts packets, in which rules of the policy look for names: set it to auto, or to 0")
	case r > 0 && needs.Payload > 0 && int64(least) > int64(r):
		return Copied{}, refused("cuts packets after %d bytes, and rules of the policy look at byte %d behind the headers: "+
			"set it to auto, to 0, or to %d at least", r, needs.Payload, least)
	}
	return Copied{cmp.Or(uint32(r), vocabulary.MaxCopyRange), false, "as configured"}, nil
}
