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
	http     http.Server
	listener net.Listener
	crowd    crowd
	ended    chan struct{}
}

const (
	// headWithin bounds how long a question may take to come, and writeWithin how long
	// its answer may take to be read.
	headWithin  = 5 * time.Second
	writeWithin = 10 * time.Second
	// endsWithin is how long Close waits for answers that are being given.
	endsWithin = time.Second
)

// Serve begins to answer for a daemon, until Close. The listener is the server's.
func Serve(l net.Listener, d Daemon, log *slog.Logger) *Server {
	s := &Server{listener: l, ended: make(chan struct{})}
	mux := http.NewServeMux()
	questions, reloads := make(room, questionsMost), make(room, reloadsMost)
	mux.Handle("GET /v1/status", answer(s, questions, d.Status))
	mux.Handle("GET /v1/config", answer(s, questions, d.Effective))
	mux.Handle("GET /v1/audit", answer(s, questions, d.Audit))
	mux.Handle("POST /v1/reload", answer(s, reloads, d.Reload))
	s.http = http.Server{
		Handler:           mux,
		ReadHeaderTimeout: headWithin, ReadTimeout: headWithin, IdleTimeout: headWithin, MaxHeaderBytes: 1 << 13,
		ConnContext: s.known, ConnState: s.crowd.state,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.ended)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the control socket answers no more", "error", err)
		}
	}()
	return s
}

// There reports whether the socket is to be found under its path: somebody may have taken
// it away, or the folder that it was in.
func (s *Server) There() bool {
	l, ok := s.listener.(*listener)
	return !ok || l.There()
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

// Keys of a connection's context: for who may not ask, and for the connection.
type (
	stranger   struct{}
	connection struct{}
)

// known notes in a connection's context whether root or the daemon's own user asks.
func (s *Server) known(ctx context.Context, c net.Conn) context.Context {
	ctx = context.WithValue(ctx, connection{}, c)
	uid, err := peer(c)
	if err == nil && (uid == 0 || int(uid) == os.Geteuid()) {
		return ctx
	}
	return context.WithValue(ctx, stranger{}, errors.Join(err, fmt.Errorf("user %d may not ask: root and the daemon's own user may", uid)))
}

// answer writes what f says.
func answer[T any](s *Server, places room, f func(context.Context) (*T, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		c, _ := r.Context().Value(connection{}).(net.Conn)
		var document any
		status := http.StatusForbidden
		err, refused := r.Context().Value(stranger{}).(error)
		if !refused {
			status = http.StatusServiceUnavailable
			s.crowd.works(c)
			if err = places.enter(); err == nil {
				document, err = f(r.Context())
				places.leave()
			}
		}
		s.crowd.waits(c)
		// From the answer on: a reload may take long before.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeWithin)) // fails for a connection that has gone
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
