package control

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
)

// Who may ask may also ask too much: a loop in a script, or a program that opens
// connections and says nothing. What they take of the daemon is bounded, and others are
// still heard.
const (
	// quietMost connections may be open that wait for their client: for a question, or the
	// rest of one, or until an answer is read. Another one has the oldest of them closed.
	quietMost = 64
	// questionsMost are answered at the same time, and reloadsMost wait for each other.
	questionsMost = 16
	reloadsMost   = 4
)

var errCrowd = errors.New("too many questions at the same time: ask again later")

// crowd are the connections of a server.
type crowd struct {
	mutex sync.Mutex
	quiet []net.Conn // the oldest first
}

// state is told what becomes of a connection.
func (c *crowd) state(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew, http.StateIdle:
		c.waits(conn)
	case http.StateClosed, http.StateHijacked:
		c.works(conn)
	case http.StateActive: // a first byte has come, and no more may
	}
}

// waits notes that a connection waits for its client.
func (c *crowd) waits(conn net.Conn) {
	c.mutex.Lock()
	c.forget(conn)
	var oldest net.Conn
	if len(c.quiet) == quietMost {
		oldest = c.quiet[0]
		c.quiet = slices.Delete(c.quiet, 0, 1)
	}
	c.quiet = append(c.quiet, conn)
	c.mutex.Unlock()
	if oldest != nil {
		_ = oldest.Close() // whoever has it may have closed it
	}
}

func (c *crowd) forget(conn net.Conn) {
	c.quiet = slices.DeleteFunc(c.quiet, func(o net.Conn) bool { return o == conn })
}

// works notes that a connection does not wait for its client: its question has come whole,
// or it has gone.
func (c *crowd) works(conn net.Conn) {
	c.mutex.Lock()
	c.forget(conn)
	c.mutex.Unlock()
}

// room is for so many questions of a kind at the same time.
type room chan struct{}

// enter takes a place, until leave.
func (r room) enter() error {
	select {
	case r <- struct{}{}:
		return nil
	default:
		return errCrowd
	}
}

func (r room) leave() { <-r }
