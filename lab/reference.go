package main

import (
	"context"
	"time"

	"verdictd/lab/internal/reference"
)

// referenceCmd is `lab reference`: a program on go-nfqueue that accepts everything, as the library's documentation
// shows it, and knows of nothing else. It stands in verdictd's place in rows about other programs, as
// lab/reference/nfq_reference.c does for libnetfilter_queue.
type referenceCmd struct {
	Queues    uint16 `help:"Queues to bind, from 0 on." default:"1"`
	MaxLength uint32 `help:"Packets that a queue holds." default:"1024"`
	Delay     int    `help:"Microseconds to take over each packet." default:"0"`
}

// Run is called by kong.
func (c *referenceCmd) Run(ctx context.Context) error {
	return reference.Run(ctx, reference.Config{Queues: c.Queues, MaxLength: c.MaxLength,
		Delay: time.Duration(c.Delay) * time.Microsecond})
}
