package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"verdictd/conntrackwatch/internal/observe"
	"verdictd/internal/netlab"
)

// places are the network namespaces to watch.
type places struct {
	NetNS    []string `name:"netns" help:"Network namespace to watch, by its name (ip netns) or path; repeatable. Default: the one that this program runs in." placeholder:"NAME|PATH"`
	AllNetNS bool     `name:"all-netns" help:"Watch every network namespace that has a name or a process, as far as this user may."`
}

// Validate is called by kong.
func (p places) Validate() error {
	if p.AllNetNS && len(p.NetNS) > 0 {
		return errors.New("--all-netns watches those of --netns as well: leave one out")
	}
	return nil
}

// named says whether results have to say which namespace they are of.
func (p places) named() bool { return p.AllNetNS || len(p.NetNS) > 0 }

// names lists the namespaces asked for.
func (p places) names() ([]netlab.NetNSName, error) {
	if p.AllNetNS {
		return netlab.ListNetNS()
	}
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

// open opens them. Of --all-netns those that this user may not watch, or that end meanwhile, are named in remarks and left
// out.
func (p places) open(remarks io.Writer) ([]*observe.Source, error) {
	names, err := p.names()
	if err != nil {
		return nil, err
	}
	var sources []*observe.Source
	for _, n := range names {
		s, err := observe.Open(n)
		switch {
		case err == nil:
			sources = append(sources, s)
		case p.AllNetNS:
			fmt.Fprintf(remarks, "conntrackwatch: left out: %v\n", err)
		default:
			return nil, errors.Join(err, closeAll(sources))
		}
	}
	if len(sources) == 0 {
		return nil, errors.New("there is no network namespace that this user may watch: CAP_NET_ADMIN is needed in each")
	}
	return sources, nil
}

func closeAll(sources []*observe.Source) error {
	var errs []error
	for _, s := range sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// metrics are where Prometheus may ask.
type metrics struct {
	Listen string `help:"Serve the counters to Prometheus here, at /metrics, labelled by namespace." placeholder:"ADDR:PORT"`
}

// serve serves until the returned function is called. Without --listen it does nothing.
func (m metrics) serve(sources []*observe.Source, remarks io.Writer) (stop func() error, err error) {
	if m.Listen == "" {
		return func() error { return nil }, nil
	}
	listener, err := net.Listen("tcp", m.Listen)
	if err != nil {
		return nil, fmt.Errorf("serve metrics (--listen): %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(observe.NewCollector(sources))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	fmt.Fprintf(remarks, "conntrackwatch: metrics at http://%s/metrics\n", listener.Addr())
	return func() error {
		// A scrape under way still reads the sources, which are closed after this.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := server.Shutdown(ctx)
		if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		if err != nil {
			return fmt.Errorf("stop serving metrics: %w", err)
		}
		return nil
	}, nil
}
