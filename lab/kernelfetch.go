package main

import (
	"context"
	"fmt"
)

// kernelFetchCmd is `lab kernel fetch`.
type kernelFetchCmd struct {
	Image string `arg:"" help:"debian, or debian:SUITE, such as debian:bookworm-backports." placeholder:"IMAGE"`
}

// Run is called by kong.
func (c *kernelFetchCmd) Run(ctx context.Context, std streams) error {
	i, err := findImage(ctx, c.Image, "", std.err)
	if err != nil {
		return err
	}
	fmt.Fprintln(std.out, i.Path)
	return nil
}
