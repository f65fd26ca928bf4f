package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"
)

// Config says how metrics are served.
type Config struct {
	// WebConfig is a file of Prometheus' exporter-toolkit with TLS and passwords, which
	// is read again for each connection; "": neither.
	WebConfig string
	// Live and Ready say why the daemon is not; nil: it is.
	Live, Ready func() error
	Log         *slog.Logger
}

// Check says what is wrong with a file for Config.WebConfig, and the files that it names;
// "" is none.
func Check(webConfig string) error {
	if err := web.Validate(webConfig); err != nil {
		return fmt.Errorf("%s: %w", webConfig, err)
	}
	return nil
}

// Server serves metrics until it is stopped.
type Server struct {
	server *http.Server
	ended  chan struct{}
}

// stopWithin bounds how long the stop waits for who reads metrics at the moment.
const stopWithin = 2 * time.Second

// Serve answers who comes to a listener, which it closes in the end. A file that Check
// has a problem with ends it at once, as the log says.
func (m *Metrics) Serve(listener net.Listener, c Config) *Server {
	log := slog.New(quiet{c.Log.Handler()})
	s := &Server{
		server: &http.Server{
			Handler: handler(m.registry, &c), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
			WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
			ErrorLog: slog.NewLogLogger(quiet{c.Log.Handler()}, slog.LevelDebug),
		},
		ended: make(chan struct{}),
	}
	go func() {
		err := web.Serve(listener, s.server, &web.FlagConfig{WebConfigFile: &c.WebConfig}, log)
		if !errors.Is(err, http.ErrServerClosed) {
			c.Log.Error("metrics are served no more", "error", err)
		}
		close(s.ended)
	}()
	return s
}

// Stop ends it. Who reads metrics at the moment gets the rest of them.
func (s *Server) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.server.Close()
	}
	<-s.ended
	if err != nil {
		return fmt.Errorf("stop serving metrics: %w", err)
	}
	return nil
}

func handler(registry *prometheus.Registry, c *Config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		// Two at a time are one that is late and its successor; each takes a look at all workers.
		MaxRequestsInFlight: 2, Timeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelWarn),
	}))
	mux.HandleFunc("GET /healthz", state(c.Live))
	mux.HandleFunc("GET /readyz", state(c.Ready))
	return mux
}

// state answers 200, or 503 with the reason.
func state(ask func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := ask(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintln(w, err)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	}
}

// quiet passes on warnings and worse: where metrics are served is known.
type quiet struct{ slog.Handler }

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}
