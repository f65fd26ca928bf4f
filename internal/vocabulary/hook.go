package vocabulary

import (
	"fmt"
	"slices"
)

// Hook is where in the kernel a base chain is called, as nft names it.
type Hook string

// The hooks: those of IP, and those of a device.
const (
	HookPrerouting  Hook = "prerouting"
	HookInput       Hook = "input"
	HookForward     Hook = "forward"
	HookOutput      Hook = "output"
	HookPostrouting Hook = "postrouting"
	HookIngress     Hook = "ingress"
	HookEgress      Hook = "egress"
)

// Hooks are those of IP, each at the place of its number (enum nf_inet_hooks).
func Hooks() []Hook {
	return []Hook{HookPrerouting, HookInput, HookForward, HookOutput, HookPostrouting}
}

// Values lists those of IP.
func (Hook) Values() []string { return words(Hooks()...) }

// Number is the kernel's for a hook of IP; -1: it is none.
func (h Hook) Number() int { return slices.Index(Hooks(), h) }

// HookAt is the hook of IP with a number of the kernel's.
func HookAt(number uint32) Hook {
	if hooks := Hooks(); int(number) < len(hooks) {
		return hooks[number]
	}
	return Hook(fmt.Sprintf("hook %d", number))
}
