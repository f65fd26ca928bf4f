package liverules

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// A naive walk goes every way through chains that packets can go, by the verdicts that made the rules. Each condition
// is met by some packets and not by others, whatever they have met before.
type naive struct {
	verdicts map[*rule][]verdict
	chains   map[string]*chain
	reached  map[*rule]bool
	comesOut map[*chain]bool
}

// walk goes through a chain, and reports whether some packet comes out at its end.
func (n *naive) walk(c *chain) (out bool) {
	if out, known := n.comesOut[c]; known {
		return out
	}
	defer func() { n.comesOut[c] = out }()
	for i := range c.rules {
		r := &c.rules[i]
		n.reached[r] = true
		on := len(r.conditions) > 0
		for _, v := range n.verdicts[r] {
			switch v.code {
			case unix.NFT_CONTINUE:
				on = true
			case nftReturn:
				out = true
			case nftJump:
				on = n.walk(n.chains[v.chain]) || on
			case nftGoto:
				out = n.walk(n.chains[v.chain]) || out
			}
		}
		if !on {
			return out
		}
	}
	return true
}

// randomChains are a base chain and some that call each other, without a loop, as the kernel has none.
func randomChains(r *rand.Rand, maps bool) (*naive, []*chain) {
	n := &naive{map[*rule][]verdict{}, map[string]*chain{}, map[*rule]bool{}, map[*chain]bool{}}
	const most = 6
	var chains []*chain
	conditions := 0
	for i := range most {
		c := userChain(fmt.Sprint(i))
		if i == 0 {
			c = baseChain(vocabulary.HookOutput, 0)
		}
		drawn := func() verdict {
			v := verdict{code: []int32{verdictAccept, verdictDrop, nftReturn, unix.NFT_CONTINUE, nftJump, nftGoto, nftJump, nftGoto}[r.IntN(8)]}
			if v.code == nftJump || v.code == nftGoto {
				v.chain = fmt.Sprint(min(most-1, i+1+r.IntN(most)))
			}
			if i == most-1 && v.chain != "" {
				return verdict{code: verdictAccept}
			}
			return v
		}
		c.rules = make([]rule, 1+r.IntN(4))
		for j := range c.rules {
			made := &c.rules[j]
			verdicts := []verdict{drawn()}
			for maps && r.IntN(3) == 0 {
				verdicts = append(verdicts, drawn())
			}
			if len(verdicts) > 1 || r.IntN(2) == 0 {
				conditions++
				made.conditions = []condition{{text: fmt.Sprint("condition ", conditions)}}
			}
			if r.IntN(4) == 0 {
				*made, verdicts = queue(uint16(conditions), made.conditions...), nil
			}
			for _, v := range verdicts {
				v.apply(made)
			}
			n.verdicts[made] = verdicts
		}
		chains = append(chains, c)
		n.chains[c.name] = c
	}
	return n, model(chains...)
}

// TestEndsAsWalked holds which rules packets can come to against the walk. Where a map sends some of a chain's packets
// to one that comes back, and others to one that comes back in its place, too many may be seen, and never too few.
func TestEndsAsWalked(t *testing.T) {
	const rounds = 20_000
	seed := uint64(time.Now().UnixNano())
	t.Logf("the first of %d seeds is %d", rounds, seed)
	reachable, all := 0, 0
	for i := range uint64(rounds) {
		maps := i%2 == 0
		n, chains := randomChains(rand.New(rand.NewPCG(seed+i, 0)), maps)
		n.walk(chains[0])
		visits := visitsOf(chains)
		for _, c := range chains {
			for j := range c.rules {
				r := &c.rules[j]
				if r.queue == nil {
					continue
				}
				all++
				if n.reached[r] {
					reachable++
				}
				if seen := len(visits[r]) > 0; seen != n.reached[r] && (n.reached[r] || !maps) {
					t.Fatalf("seed %d: that packets come to rule %d of chain %s is %v, want %v\n%s", seed+i, r.number, c.name, seen, n.reached[r], n.text(chains))
				}
			}
		}
	}
	if reachable == 0 || reachable == all {
		t.Errorf("packets come to %d of %d rules: that says nothing", reachable, all)
	}
}

// text is for who looks for a fault.
func (n *naive) text(chains []*chain) (text string) {
	for _, c := range chains {
		text += c.name + ":\n"
		for i := range c.rules {
			r := &c.rules[i]
			text += fmt.Sprintf("\t%s %v", matchText(r.conditions), n.verdicts[r])
			if r.queue != nil {
				text += "queue"
			}
			text += "\n"
		}
	}
	return text
}
