package liverules

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"verdictd/internal/kernelfacts"
)

// Conntrack says whether connections are tracked in the namespace. Since 4.11
// the kernel does so, for each family, only while some rule needs it.
type Conntrack struct {
	IPv4   Answer `json:"ipv4"`
	IPv6   Answer `json:"ipv6"`
	Bridge Answer `json:"bridge"` // in the bridge's own hooks (nf_conntrack_bridge, since 5.3)
	Reason string `json:"reason"`
}

// of answers for any of some families.
func (c Conntrack) of(f families) Answer {
	answer := No
	for family, a := range map[families]Answer{ipv4: c.IPv4, ipv6: c.IPv6, bridged: c.Bridge} {
		switch {
		case f&family == 0 || a == No || answer == Yes:
		default:
			answer = a
		}
	}
	return answer
}

// surroundings is what counts besides the rules.
type surroundings struct {
	// loaded: there is conntrack in the kernel, and its table has entries.
	loaded  Answer
	entries int
	// ipvs: services of IPVS have their connections tracked.
	ipvs bool
	// ipvsUntracked: there are such services, and theirs are not.
	ipvsUntracked Answer
	// always: connections are tracked, whatever the rules: kernels before 4.11.
	always bool
	// keepers are parts of tables that activate conntrack besides rules.
	keepers []keeper
	// bridgeCalls: bridged packets run through the hooks of IP, from within the
	// bridge's hooks (br_netfilter).
	bridgeCalls Answer
}

// conntrack finds who tracks. Complete: all rules could be read. That conntrack's
// table has entries proves nothing: they outlive the rules that made them be
// tracked, and a gate's own rules make some.
func (s surroundings) conntrack(chains []*chain, complete bool) Conntrack {
	if s.loaded == No {
		return Conntrack{No, No, No, "conntrack is not loaded"}
	}
	if s.always {
		return Conntrack{Yes, Yes, No, "kernels before 4.11 track wherever conntrack is loaded"}
	}
	var by families
	example := ""
	if s.ipvs {
		by, example = ipv4|ipv6, "IPVS (net.ipv4.vs.conntrack)"
	}
	note := func(of Family, what fmt.Stringer) {
		f := of.families()
		if f&bridged != 0 {
			f |= ipv4 | ipv6 // a bridge's rule activates IP's hooks too (nf_ct_netns_get)
		}
		if f&^by != 0 {
			example = what.String()
		}
		by |= f
	}
	for _, k := range s.keepers {
		note(k.family, k)
	}
	for _, c := range chains {
		if c.ignored {
			continue
		}
		for i := range c.rules {
			if !c.rules[i].tracks {
				continue
			}
			note(c.family, c.place(&c.rules[i]))
		}
	}
	rest, reason := No, "no rule needs conntrack, and its table is empty"
	if by != 0 {
		reason = fmt.Sprintf("needed by %s", example)
	}
	switch {
	case s.entries > 0 && by == 0:
		return Conntrack{Unknown, Unknown, Unknown, fmt.Sprintf("conntrack's table has %d entries, but no rule needs it: they are left over, or it was switched on for good (nf_conntrack's enable_hooks)", s.entries)}
	case !complete || s.loaded == Unknown:
		rest = Unknown
		if by == 0 {
			reason = "not all rules could be read, and conntrack's table is empty"
		}
	}
	answer := func(f families) Answer {
		if by&f != 0 {
			return Yes
		}
		return rest
	}
	return Conntrack{answer(ipv4), answer(ipv6), answer(bridged), reason}
}

// readSurroundings reads what counts besides the rules. The files below
// /proc/sys/net are those of the calling thread's namespace.
func readSurroundings() (surroundings, []Unread) {
	var s surroundings
	var unread []Unread
	note := func(what string, err error) {
		unread = append(unread, Unread{What: what, Why: err.Error(), err: err})
	}

	entries, there, err := readNumber("/proc/sys/net/netfilter/nf_conntrack_count")
	s.entries, s.loaded = entries, answer(there, err)
	if err != nil {
		note("the number of conntrack's entries", err)
	}
	calls, err := readBridgeCalls()
	if err != nil {
		note("the settings of br_netfilter", err)
	}
	s.bridgeCalls = calls
	services, tracked, err := readIPVS()
	if err != nil {
		note("the services of IPVS", err)
	}
	s.ipvs, s.ipvsUntracked = services && tracked, answer(services && !tracked, err)
	release, err := kernelfacts.Release()
	if err != nil {
		note("the kernel's release", err)
	}
	s.always = before411(release)
	return s, unread
}

// readBridgeCalls says whether bridged packets run through the hooks of IP.
func readBridgeCalls() (Answer, error) {
	calls := No
	for _, name := range []string{"bridge-nf-call-iptables", "bridge-nf-call-ip6tables"} {
		on, there, err := readNumber("/proc/sys/net/bridge/" + name)
		if err != nil {
			return Unknown, err
		}
		if there && on != 0 {
			calls = Yes
		}
	}
	return calls, nil
}

// readIPVS says whether there are virtual services, and whether their connections
// are tracked.
func readIPVS() (services, tracked bool, err error) {
	const header = 3 // lines
	text, err := os.ReadFile("/proc/thread-self/net/ip_vs")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, false, nil
	case err != nil:
		return false, false, err
	}
	setting, _, err := readNumber("/proc/sys/net/ipv4/vs/conntrack")
	return strings.Count(string(text), "\n") > header, setting != 0, err
}

func answer(yes bool, err error) Answer {
	switch {
	case err != nil:
		return Unknown
	case yes:
		return Yes
	}
	return No
}

// before411 is false for what it does not understand.
func before411(release string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major < 4 || major == 4 && minor < 11
}

// readNumber reads a setting, which may not be there.
func readNumber(path string) (n int, there bool, err error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	}
	n, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, false, fmt.Errorf("read %s: %w", path, err)
	}
	return n, true, nil
}
