package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"
)

// benchListenCmd is `lab bench listen-timo`: the loop over the library's Listen that `lab bench events` compares with, in a
// process of its own.
type benchListenCmd struct {
	ReceiveBuffer int `help:"Room for events that wait, in bytes." required:""`
}

// Run is called by kong.
func (c *benchListenCmd) Run(ctx context.Context, std streams) (err error) {
	conn, err := conntrack.Dial(nil)
	if err != nil {
		return fmt.Errorf("open a conntrack socket: %w", err)
	}
	if err := conn.SetReadBuffer(c.ReceiveBuffer); err != nil {
		return errors.Join(fmt.Errorf("set the receive buffer: %w", err), conn.Close())
	}
	// Or the library would end at the first loss, which the bench counts by the kernel's word.
	if err := conn.SetOption(netlink.NoENOBUFS, true); err != nil {
		return errors.Join(fmt.Errorf("set NETLINK_NO_ENOBUFS: %w", err), conn.Close())
	}
	const backlog, workers = 1024, 1 // as the library's documentation has it for events in order
	events := make(chan conntrack.Event, backlog)
	failed, err := conn.Listen(events, workers, netfilter.GroupsCT)
	if err != nil {
		return errors.Join(fmt.Errorf("listen for events: %w", err), conn.Close())
	}
	for n := 0; ; n++ {
		select {
		case <-events:
		case err := <-failed:
			return fmt.Errorf("after %d events: %w", n, err)
		case <-ctx.Done():
			// Closing the socket here would wait for the library's reader for ever.
			fmt.Fprintln(std.out, n)
			return nil
		}
	}
}
