package main

import (
	"io"

	"verdictd/conntrackwatch/internal/observe"
	"verdictd/internal/netlab"
)

// places are the network namespaces to watch.
type places struct {
	NetNS    []string `name:"netns" help:"Network namespace to watch, by its name (ip netns) or path; repeatable. Default: the one that this program runs in." placeholder:"NAME|PATH"`
	AllNetNS bool     `name:"all-netns" help:"Watch every network namespace that has a name or a process, as far as this user may." not:"netns"`
}

// named says whether results have to say which namespace they are of.
func (p places) named() bool { return p.AllNetNS || len(p.NetNS) > 0 }

// names are the namespaces asked for by name.
func (p places) names() ([]netlab.NetNSName, error) {
	if !p.named() {
		return []netlab.NetNSName{{Name: "self", Path: "/proc/thread-self/ns/net"}}, nil
	}
	var names []netlab.NetNSName
	for _, n := range p.NetNS {
		name, err := netlab.FindNetNS(n)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// open opens them. Of --all-netns those that this user may not watch are named in remarks and left out.
func (p places) open(remarks io.Writer) (*observe.Set, error) {
	if p.AllNetNS {
		return observe.OpenListed(netlab.ListNetNS, remarks)
	}
	names, err := p.names()
	if err != nil {
		return nil, err
	}
	return observe.OpenNamed(names)
}

// metrics are where Prometheus may ask.
type metrics struct {
	Listen string `help:"Serve the counters to Prometheus here, at /metrics, labelled by namespace." placeholder:"ADDR:PORT"`
}

// serve serves until the returned function is called. Without --listen it does nothing.
func (m metrics) serve(set *observe.Set, remarks io.Writer) (stop func() error, err error) {
	if m.Listen == "" {
		return func() error { return nil }, nil
	}
	return observe.Serve(m.Listen, set, remarks)
}
