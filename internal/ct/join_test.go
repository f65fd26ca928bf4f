package ct

import (
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/nfnl"
	"verdictd/internal/testkit"
)

// rendezvous has two threads begin a round at the same time.
type rendezvous struct{ came atomic.Int64 }

func (r *rendezvous) meet(round int) {
	r.came.Add(1)
	for i := 0; r.came.Load() < int64(2*round); i++ {
		if i > 100_000 { // with one processor there is no other way
			runtime.Gosched()
		}
	}
}

// each does something for every group of events.
func each(do func(group uint32) error) (err error) {
	for _, group := range (&Filter{}).groups() {
		err = errors.Join(err, do(group))
	}
	return err
}

// TestJoinBesideLeave: who leaves while somebody joins does not take the events from it (nfnl.Socket.Join).
func TestJoinBesideLeave(t *testing.T) {
	const rounds = 3000
	ns := testkit.Namespace(t)
	var begin rendezvous
	joined, left := make(chan struct{}), make(chan error)
	go func() {
		left <- ns.Do(func() error {
			s, err := nfnl.Dial(nfnl.Config{})
			for round := 1; err == nil && round <= rounds; round++ {
				err = each(s.Join)
				begin.meet(round)
				for began := time.Now(); time.Since(began) < time.Duration(round%20)*50; {
					continue
				}
				err = errors.Join(err, each(s.Leave))
				left <- err
				<-joined
			}
			return errors.Join(err, s.Close())
		})
	}()
	conn := udpSocket(t)
	unheard := 0
	for round := 1; round <= rounds; round++ {
		s, err := nfnl.Dial(nfnl.Config{})
		if err != nil {
			t.Fatal(err)
		}
		begin.meet(round)
		if err := errors.Join(each(s.Join), <-left); err != nil {
			t.Fatal(err)
		}
		sendFlows(t, conn, 20000+round, 1)
		if _, err := nfnl.NewReceiver(1, eventLen).Receive(s, false); errors.Is(err, nfnl.ErrWouldBlock) {
			unheard++
		} else if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		joined <- struct{}{}
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
	if unheard != 0 {
		t.Errorf("%d of %d sockets heard nothing of a flow", unheard, rounds)
	}
}

// TestListenersOfAllNamespacesCount: entries get events where anybody on the machine listens to some (Linux 5.19).
func TestListenersOfAllNamespacesCount(t *testing.T) {
	local, remote := testkit.VethPair(t)
	in := func(ns *netlab.NetNS, f func() error) {
		t.Helper()
		if err := ns.Do(f); err != nil {
			t.Fatal(err)
		}
	}
	var elsewhere, here *nfnl.Socket
	join := func(s **nfnl.Socket) func() error {
		return func() (err error) {
			if *s, err = nfnl.Dial(nfnl.Config{}); err == nil {
				err = (*s).Join(unix.NFNLGRP_CONNTRACK_DESTROY)
			}
			return err
		}
	}
	in(remote, join(&elsewhere))
	defer func() { _ = elsewhere.Close() }()
	in(local, func() error {
		conn, err := net.Dial("udp4", net.JoinHostPort(testkit.RemoteIPv4.Addr().String(), "9"))
		if err != nil {
			return err
		}
		_, err = conn.Write([]byte("x"))
		return errors.Join(err, conn.Close())
	})
	in(local, join(&here))
	defer func() { _ = here.Close() }()
	in(local, func() error {
		table, err := conntrack.Dial(nil)
		if err != nil {
			return err
		}
		return errors.Join(table.Flush(), table.Close())
	})
	if _, err := nfnl.NewReceiver(1, eventLen).Receive(here, false); err != nil {
		t.Errorf("an entry from before the socket joined tells nobody of its end: %v", err)
	}
}
