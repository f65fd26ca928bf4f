package observe

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
)

// Serve answers Prometheus at an address, at /metrics, until the returned function is called. The set may be closed
// after that.
func Serve(address string, set *Set, remarks io.Writer) (stop func() error, err error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve metrics (--listen): %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewCollector(set))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	fmt.Fprintf(remarks, "conntrackwatch: metrics at http://%s/metrics\n", listener.Addr())
	return func() error {
		// A scrape under way still reads the namespaces, which are closed after this.
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
