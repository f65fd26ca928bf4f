package results

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"verdictd/internal/liverules"
	"verdictd/internal/netlab"
)

// Namespace is a network namespace that packets of the run went through.
type Namespace struct {
	// Role is what it was to the run: sender, receiver.
	Role string `json:"role"`
	// Path is empty for the process's own.
	Path string `json:"path"`
	// Sysctls are net.netfilter.* and those of net.ipv4 that matter to senders.
	Sysctls map[string]string `json:"sysctls"`
	// Rules are those that queue, rewrite or exempt packets, one a line, as far as the process may read them; Unread
	// says which it may not.
	Rules  []string `json:"rules"`
	Unread []string `json:"unread"`
}

// namespaceSysctls are read besides all of net.netfilter.
var namespaceSysctls = []string{
	"net.ipv4.conf.all.rp_filter",
	"net.ipv4.ip_forward",
	"net.ipv4.ip_local_port_range",
	"net.ipv6.conf.all.forwarding",
}

// Place is a namespace by its path, empty for the process's own, and its role in the run.
type Place struct{ Role, Path string }

// ReadNamespaces reads each namespace once; where one has several roles, they are joined.
func ReadNamespaces(places ...Place) ([]Namespace, error) {
	out := []Namespace{}
	for _, p := range places {
		if i := slices.IndexFunc(out, func(n Namespace) bool { return n.Path == p.Path }); i >= 0 {
			out[i].Role += ", " + p.Role
			continue
		}
		n := Namespace{Role: p.Role, Path: p.Path}
		if err := n.enterAndRead(); err != nil {
			return nil, fmt.Errorf("look at the %s's network namespace: %w", p.Role, err)
		}
		out = append(out, n)
	}
	return out, nil
}

func (n *Namespace) enterAndRead() (err error) {
	if n.Path == "" {
		n.read()
		return nil
	}
	ns, err := netlab.OpenNetNS(n.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	return ns.Do(func() error {
		n.read()
		return nil
	})
}

// read reads the calling thread's namespace.
func (n *Namespace) read() {
	n.Sysctls = readSysctls(namespaceSysctls)
	maps.Copy(n.Sysctls, readSysctls(netfilterSysctls()))
	rules, _ := liverules.Read() // the error is in Unread too
	n.Rules, n.Unread = []string{}, []string{}
	for _, q := range rules.Queues {
		n.Rules = append(n.Rules, q.String())
	}
	for _, r := range rules.Rewrites {
		n.Rules = append(n.Rules, join(r.String()+":", r.Match, r.Kind))
	}
	for _, r := range rules.Notracks {
		n.Rules = append(n.Rules, join(r.String()+":", r.Match, "notrack"))
	}
	for _, u := range rules.Unread {
		n.Unread = append(n.Unread, u.Error())
	}
}

func join(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// netfilterSysctls lists what the namespace has of net.netfilter, but for counts of the moment.
func netfilterSysctls() []string {
	entries, err := os.ReadDir("/proc/sys/net/netfilter")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && name != "nf_conntrack_count" {
			names = append(names, "net.netfilter."+name)
		}
	}
	return names
}
