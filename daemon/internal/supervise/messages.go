package supervise

import (
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"verdictd/daemon/internal/fdstore"
)

// listen delivers what the daemon says, each message after its descriptors were stored or removed, until the store is
// closed.
func listen(store *fdstore.Server) <-chan fdstore.Message {
	messages := make(chan fdstore.Message)
	go func() {
		for {
			m, err := store.Receive()
			if err != nil {
				return
			}
			messages <- m
		}
	}()
	return messages
}

// catchUpWithin bounds how long what a daemon told last is waited for.
const catchUpWithin = time.Second

// catchUp deals with all that has been sent so far, by a message of the parent's own that takes its place behind it.
func (s *supervisor) catchUp() {
	const mark = "X_VERDICTD_CAUGHT_UP=1"
	c, err := net.Dial("unixgram", s.Store.Address())
	if err != nil {
		s.Log.Error("read what the daemon told last", "error", err)
		return
	}
	defer func() { _ = c.Close() }()
	// The socket may be full of messages, which only this goroutine takes.
	sent := make(chan error, 1)
	go func() { _, err := c.Write([]byte(mark)); sent <- err }()
	late := time.NewTimer(catchUpWithin)
	defer late.Stop()
	for {
		select {
		case m := <-s.messages:
			if m.PID == os.Getpid() && slices.Contains(m.Fields, mark) {
				return
			}
			s.heard(m)
		case err := <-sent:
			if err != nil {
				s.Log.Error("read what the daemon told last", "error", err)
				return
			}
			sent = nil
		case <-late.C:
			return
		}
	}
}

// passable are lines of the daemon that the manager above may hear. Its process, descriptors and watchdog are the
// parent's own affair.
var passable = []string{"READY", "RELOADING", "MONOTONIC_USEC", "STATUS", "EXTEND_TIMEOUT_USEC"}

// heard deals with what a daemon said. Only the one that runs now counts: a message of the one before may still be
// there.
func (s *supervisor) heard(m fdstore.Message) {
	if m.PID != s.pid || s.pid == 0 {
		return
	}
	var pass []string
	for _, line := range m.Fields {
		key, value, _ := strings.Cut(line, "=")
		switch {
		case line == "READY=1":
			s.becomeReady()
		case line == "WATCHDOG=1":
			s.alive()
			if s.outer.watched {
				pass = append(pass, line)
			}
		case key == FailureKey:
			s.learn(value)
		}
		if slices.Contains(passable, key) {
			pass = append(pass, line)
		}
	}
	if len(pass) > 0 {
		s.outer.say(strings.Join(pass, "\n"))
	}
}

func (s *supervisor) becomeReady() {
	if !s.ready && s.pauses.failures > 0 {
		s.Log.Info("a daemon works again", "pid", s.pid, "away", time.Since(s.since).Round(time.Millisecond))
	}
	s.ready, s.left, s.readyBy = true, false, time.Time{}
	s.provenAt = time.Now().Add(provenAfter)
	s.alive()
}

// alive puts the watchdog off.
func (s *supervisor) alive() {
	if s.Watchdog > 0 && s.ready && !s.stopping {
		s.aliveBy, s.spared = time.Now().Add(s.Watchdog), false
	}
}

// learn notes what the daemon wants to become of packets where it fails.
func (s *supervisor) learn(said string) {
	failure, err := s.Failure(said)
	if err != nil {
		s.Log.Error("the daemon does not say what becomes of packets without it", "error", err)
		return
	}
	s.failure = failure
}
