package events

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"
)

// ListenTimo is the loop over the library's Listen that is compared with, in a process of its own. It says how many
// events came until the context ended.
func ListenTimo(ctx context.Context, receiveBuffer int) (heard int, err error) {
	conn, err := conntrack.Dial(nil)
	if err != nil {
		return 0, fmt.Errorf("open a conntrack socket: %w", err)
	}
	if err := conn.SetReadBuffer(receiveBuffer); err != nil {
		return 0, errors.Join(fmt.Errorf("set the receive buffer: %w", err), conn.Close())
	}
	// Or the library would end at the first loss, which the bench counts by the kernel's word.
	if err := conn.SetOption(netlink.NoENOBUFS, true); err != nil {
		return 0, errors.Join(fmt.Errorf("set NETLINK_NO_ENOBUFS: %w", err), conn.Close())
	}
	const backlog, workers = 1024, 1 // as the library's documentation has it for events in order
	events := make(chan conntrack.Event, backlog)
	failed, err := conn.Listen(events, workers, netfilter.GroupsCT)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("listen for events: %w", err), conn.Close())
	}
	for {
		select {
		case <-events:
			heard++
		case err := <-failed:
			return heard, fmt.Errorf("after %d events: %w", heard, err)
		case <-ctx.Done():
			// Closing the socket here would wait for the library's reader for ever.
			return heard, nil
		}
	}
}
