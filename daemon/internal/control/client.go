package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/audit"
)

// ErrNoDaemon says that nobody answers at the socket.
var ErrNoDaemon = errors.New("no daemon answers")

// Client asks the daemon behind a socket.
type Client struct {
	path   string
	http   http.Client
	within time.Duration // it answers what does not take it as long as it takes, such as a reload
}

// answersWithin bounds the wait for a daemon, which may be doing a reload, or stand still.
const answersWithin = 10 * time.Second

// NewClient asks at a path.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{path: path, within: answersWithin, http: http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Path is the socket's.
func (c *Client) Path() string { return c.path }

// Status asks for it.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return ask[Status](ctx, c, http.MethodGet, "status")
}

// Effective asks for the configuration in force.
func (c *Client) Effective(ctx context.Context) (*Effective, error) {
	return ask[Effective](ctx, c, http.MethodGet, "config")
}

// Audited is what of the daemon's audit is for others: the rest they see as well.
type Audited struct {
	// Daemons has one.
	Daemons []audit.Daemon `json:"daemons"`
}

// Audit asks what the daemon guards, and where the machine stands as far as it can tell.
func (c *Client) Audit(ctx context.Context) (*Audited, error) {
	return ask[Audited](ctx, c, http.MethodGet, "audit")
}

// Reload tells the daemon to read its configuration again, and returns the result.
func (c *Client) Reload(ctx context.Context) (*Reload, error) {
	return ask[Reload](ctx, c, http.MethodPost, "reload")
}

// documentMost bounds an answer, in bytes.
const documentMost = 64 << 20

func ask[T any](ctx context.Context, c *Client, method, what string) (*T, error) {
	if method == http.MethodGet {
		bounded, cancel := context.WithTimeout(ctx, c.within)
		defer cancel()
		ctx = bounded
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://verdictd/v1/"+what, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.explain(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, documentMost))
	if err != nil {
		return nil, c.explain(err)
	}
	into := any(new(T))
	if response.StatusCode != http.StatusOK {
		into = &Error{Text: response.Status}
	}
	if err := json.Unmarshal(text, into); err != nil {
		return nil, fmt.Errorf("the daemon at %s answers %s with what this program does not understand: %w", c.path, response.Status, err)
	}
	if refused, ok := into.(*Error); ok {
		return nil, refused
	}
	return into.(*T), nil
}

// explain says what an operator can do.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("%w at %s: start one with `systemctl start verdictd` or `verdictd run`, or name its socket with --socket", ErrNoDaemon, c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the socket %s is for root and the daemon's own user: ask with sudo: %w", c.path, fs.ErrPermission)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the daemon at %s does not answer: it stands still (state T in ps, a frozen container), or has no CPU: %w", c.path, err)
	}
	return fmt.Errorf("ask the daemon at %s: %w", c.path, err)
}
