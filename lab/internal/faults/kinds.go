package faults

import (
	"slices"
	"time"
)

// A kind is a sort of fault.
type kind struct {
	name    string
	meaning string
	// inherent are the columns in which the fault costs something whoever judges, each with the reason.
	inherent map[string]string
	// counted: what the fault loses is inherent as far as the kernel has counted it as dropped.
	counted bool
	// draw chooses the fault's setting.
	draw func(r random, c *Config) setting
	play func(n *nemesis, s setting) error
}

// A setting is what one fault is like.
type setting struct {
	Lasts time.Duration
	Which int // of several ways, interfaces or addresses
}

// random is what settings are drawn from.
type random interface {
	IntN(n int) int
	Int64N(n int64) int64
}

// lasting draws a time between two.
func lasting(r random, least, most time.Duration) setting {
	return setting{Lasts: least + time.Duration(r.Int64N(int64(max(most-least, 1)))), Which: r.IntN(1 << 16)}
}

func instant(r random, _ *Config) setting { return lasting(r, 0, 1) }

const (
	queuesEmptied = "whenever a base chain is deleted, anybody's, the kernel drops what waits in the namespace's queues"
	answerCounts  = "that conntrack has a flow counts for 10 ms in the gate, and its entry may go meanwhile"
	noRules       = "until the rules are back, packets find none"
)

// kinds are all faults, in the order of the documents.
func kinds() []kind {
	return []kind{
		{
			name: "reload", meaning: "SIGHUP with another policy, until that is in force",
			draw: instant, play: (*nemesis).reload,
		}, {
			name: "restart", meaning: "the program is replaced in order",
			draw: instant, play: (*nemesis).restart,
		}, {
			name: "kill", meaning: "SIGKILL to the program; it comes back at once or after 100 ms",
			draw: func(r random, _ *Config) setting {
				return setting{Lasts: time.Duration(r.IntN(2)) * 100 * time.Millisecond}
			},
			play: (*nemesis).kill,
		}, {
			name: "stop", meaning: "SIGSTOP to the program for up to a second, as long as the queue has room",
			draw: func(r random, c *Config) setting {
				return lasting(r, 100*time.Millisecond, min(time.Second, c.longestStop()))
			},
			play: (*nemesis).stop,
		}, {
			name: "flush", meaning: "conntrack -F",
			inherent: map[string]string{"clashes": answerCounts},
			draw:     instant, play: (*nemesis).flush,
		}, {
			name: "delete", meaning: "conntrack -D of all that one address sends",
			inherent: map[string]string{"clashes": answerCounts},
			draw:     instant, play: (*nemesis).delete,
		}, {
			name: "firewall", meaning: "another program's rules replaced: nft with its base chain, or iptables-restore",
			inherent: map[string]string{"lost": queuesEmptied},
			draw:     instant, play: (*nemesis).firewall,
		}, {
			name: "ruleset", meaning: "nft flush ruleset, until the rules are back",
			inherent: map[string]string{
				"lost": queuesEmptied, "unjudged": noRules,
				"clashes":   noRules + ", those before conntrack neither",
				"reordered": "packets that find no rule overtake those that wait",
			},
			draw: instant, play: (*nemesis).ruleset,
		}, {
			name: "interface", meaning: "an interface of the router down for up to 300 ms, and up",
			inherent: map[string]string{
				"lost": "what is on its way to the interface, in a queue as well, goes with it, and what comes meanwhile",
			},
			draw: func(r random, _ *Config) setting { return lasting(r, 20*time.Millisecond, 300*time.Millisecond) },
			play: (*nemesis).interfaces,
		}, {
			name: "overload", meaning: "packets at full speed beside the others for up to 300 ms",
			counted: true,
			draw:    func(r random, _ *Config) setting { return lasting(r, 100*time.Millisecond, 300*time.Millisecond) },
			play:    (*nemesis).overload,
		}, {
			name: "neighbour", meaning: "programs that compute, two for each CPU, and network namespaces that come and go, for up to a second",
			counted: true,
			draw:    func(r random, _ *Config) setting { return lasting(r, 200*time.Millisecond, time.Second) },
			play:    (*nemesis).neighbour,
		}, {
			name: "second", meaning: "the same program is started with the same configuration, and refuses",
			draw: instant, play: (*nemesis).second,
		},
	}
}

// kindOf finds a kind by its name.
func kindOf(name string) (kind, bool) {
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.name == name })
	if i < 0 {
		return kind{}, false
	}
	return all[i], true
}

// names are those of all kinds.
func names() (list []string) {
	for _, k := range kinds() {
		list = append(list, k.name)
	}
	return list
}
