package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"verdictd/daemon/internal/audit"
)

// Daemon is who answers.
type Daemon interface {
	Status(context.Context) (*Status, error)
	Effective(context.Context) (*Effective, error)
	Audit(context.Context) (*audit.Report, error)
	// Reload returns when the reload has ended, or an error where there was none.
	Reload(context.Context) (*Reload, error)
}

// Server answers at a socket.
type Server struct {
	http  http.Server
	ended chan struct{}
}

const (
	headWithin = 5 * time.Second
	// endsWithin is how long Close waits for answers that are being given.
	endsWithin = time.Second
)

// Serve begins to answer for a daemon, until Close. The listener is the server's.
func Serve(l net.Listener, d Daemon, log *slog.Logger) *Server {
	s := &Server{ended: make(chan struct{})}
	mux := http.NewServeMux()
	mux.Handle("GET /v1/status", answer(d.Status))
	mux.Handle("GET /v1/config", answer(d.Effective))
	mux.Handle("GET /v1/audit", answer(d.Audit))
	mux.Handle("POST /v1/reload", answer(d.Reload))
	s.http = http.Server{
		Handler:           mux,
		ReadHeaderTimeout: headWithin, ReadTimeout: headWithin, MaxHeaderBytes: 1 << 13,
		ConnContext: known,
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.ended)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the control socket answers no more", "error", err)
		}
	}()
	return s
}

// Close ends it, and takes the socket away.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), endsWithin)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	<-s.ended
	return err
}

// stranger is the key of a connection's context for who may not ask.
type stranger struct{}

// known notes in a connection's context whether root or the daemon's own user asks.
func known(ctx context.Context, c net.Conn) context.Context {
	uid, err := peer(c)
	if err == nil && (uid == 0 || int(uid) == os.Geteuid()) {
		return ctx
	}
	return context.WithValue(ctx, stranger{}, errors.Join(err, fmt.Errorf("user %d may not ask: root and the daemon's own user may", uid)))
}

// answer writes what f says.
func answer[T any](f func(context.Context) (*T, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var document any
		status := http.StatusForbidden
		err, refused := r.Context().Value(stranger{}).(error)
		if !refused {
			status = http.StatusServiceUnavailable
			document, err = f(r.Context())
		}
		if err != nil {
			document = &Error{Schema: Schema, Text: err.Error()}
			w.WriteHeader(status)
		}
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		_ = e.Encode(document) // who asked may have gone
	})
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("the daemon says: %s", e.Text) }
