package dns

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"verdictd/internal/traffic"
)

// Client is who resolves.
type Client string

const (
	Builtin     Client = "builtin"     // this package
	Getaddrinfo Client = "getaddrinfo" // the system's C library, by way of getent
)

// Queries is how the two questions of a resolution are sent.
type Queries string

const (
	Parallel            Queries = "parallel"              // both at once, from one socket
	SingleRequest       Queries = "single-request"        // the second when the first is answered (resolv.conf's option)
	SingleRequestReopen Queries = "single-request-reopen" // the same, from another socket (likewise)
	Separate            Queries = "separate"              // both at once, each from a socket of its own
)

// Bounds. Whatever is asked for, a run ends.
const (
	MaxResolutions = 1_000_000
	MaxParallel    = 256
	MaxTimeout     = 24 * time.Hour

	// glibc's own (RES_MAXRETRANS, RES_MAXRETRY): it takes what is above for these.
	maxAttemptTimeout = 30 * time.Second
	maxAttempts       = 5

	dnsPort = 53
)

// Config says what Run resolves. Default has the values to start from.
type Config struct {
	// Target and Port are the server's, which listens there. An address outside loopback and the documentation ranges
	// must be given in AllowTarget too.
	Target      netip.Addr `json:"target"`
	Port        uint16     `json:"port"`
	AllowTarget netip.Addr `json:"allow_target,omitzero"`

	// Resolutions is how many names are resolved, each once, Parallel how many at a time.
	Resolutions int `json:"resolutions"`
	Parallel    int `json:"parallel"`

	Client  Client  `json:"client"`
	Queries Queries `json:"queries"`

	// AttemptTimeout is how long the client waits for answers before it asks again, Attempts how often it asks at most:
	// resolv.conf's timeout and attempts.
	AttemptTimeout time.Duration `json:"-"`
	Attempts       int           `json:"attempts"`

	// SenderNetns and ReceiverNetns are paths of network namespaces; empty: the process's own. The server is in the
	// latter.
	SenderNetns   string `json:"sender_netns,omitempty"`
	ReceiverNetns string `json:"receiver_netns,omitempty"`

	// Timeout bounds the whole run.
	Timeout time.Duration `json:"-"`
}

// Default is what a resolver does by default.
func Default() Config {
	return Config{
		Target: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Port: dnsPort,
		Resolutions: 200, Parallel: 20,
		Client: Builtin, Queries: Parallel,
		AttemptTimeout: 5 * time.Second, Attempts: 2,
		Timeout: 5 * time.Minute,
	}
}

// MarshalJSON writes durations as Go writes them ("5s").
func (c Config) MarshalJSON() ([]byte, error) {
	type plain Config
	return json.Marshal(struct {
		plain
		AttemptTimeout string `json:"attempt_timeout"`
		Timeout        string `json:"timeout"`
	}{plain(c), c.AttemptTimeout.String(), c.Timeout.String()})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Config) UnmarshalJSON(b []byte) error {
	type plain Config
	written := struct {
		*plain
		AttemptTimeout string `json:"attempt_timeout"`
		Timeout        string `json:"timeout"`
	}{plain: (*plain)(c)}
	err := json.Unmarshal(b, &written)
	if err == nil {
		c.AttemptTimeout, err = time.ParseDuration(written.AttemptTimeout)
	}
	if err == nil {
		c.Timeout, err = time.ParseDuration(written.Timeout)
	}
	return err
}

func (c *Config) server() netip.AddrPort { return netip.AddrPortFrom(c.Target, c.Port) }

// Validate returns every problem at once.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := traffic.CheckTarget(c.Target, c.AllowTarget); err != nil {
		errs = append(errs, err)
	}
	if c.Port == 0 {
		bad("port 0: want 1 to 65535")
	}
	if c.Resolutions < 1 || c.Resolutions > MaxResolutions {
		bad("resolutions %d: want 1 to %d", c.Resolutions, MaxResolutions)
	}
	if c.Parallel < 1 || c.Parallel > MaxParallel {
		bad("parallel %d: want 1 to %d", c.Parallel, MaxParallel)
	}
	switch c.Queries {
	case Parallel, SingleRequest, SingleRequestReopen:
	case Separate:
		if c.Client == Getaddrinfo {
			bad("queries %s: client %s asks from one socket; resolv.conf has no word for another way", c.Queries, c.Client)
		}
	default:
		bad("queries %q: want %s, %s, %s or %s", c.Queries, Parallel, SingleRequest, SingleRequestReopen, Separate)
	}
	if c.AttemptTimeout <= 0 || c.AttemptTimeout > maxAttemptTimeout {
		bad("attempt timeout %s: want more than zero and at most %s", c.AttemptTimeout, maxAttemptTimeout)
	}
	if c.Attempts < 1 || c.Attempts > maxAttempts {
		bad("attempts %d: want 1 to %d", c.Attempts, maxAttempts)
	}
	if c.Timeout <= 0 || c.Timeout > MaxTimeout {
		bad("timeout %s: want more than zero and at most %s", c.Timeout, MaxTimeout)
	}
	switch c.Client {
	case Builtin:
	case Getaddrinfo:
		if c.Port != dnsPort {
			bad("port %d: resolv.conf has no word for a port, so client %s asks at %d", c.Port, c.Client, dnsPort)
		}
		if c.AttemptTimeout%time.Second != 0 {
			bad("attempt timeout %s: resolv.conf, and so client %s, knows whole seconds", c.AttemptTimeout, c.Client)
		}
	default:
		bad("client %q: want %s or %s", c.Client, Builtin, Getaddrinfo)
	}
	return errors.Join(errs...)
}
