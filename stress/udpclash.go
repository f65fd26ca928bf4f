package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"verdictd/internal/traffic"
)

// udpClashFlows is how many rounds `stress clash --udpclash` has unless told otherwise.
const udpClashFlows = 100

// udpClashResult is the result file behind its header.
type udpClashResult struct {
	traffic.UDPClashResult
	Topology    string `json:"topology"`
	NAT         string `json:"nat"`
	ClashTarget uint64 `json:"clash_target"`
	conntrackCounts
}

// runUDPClash is Run with --udpclash, from where both part.
func (c *clashCmd) runUDPClash(ctx context.Context, s *streams, out *result, counter *tally, clash *traffic.ClashConfig) error {
	cfg := traffic.UDPClashConfig{
		Target: clash.Target, Port: clash.Port, AllowTarget: clash.AllowTarget, ReceiveAt: clash.ReceiveAt, Sources: clash.Sources,
		SenderNetns: clash.SenderNetns, ReceiverNetns: clash.ReceiverNetns,
		Flows: udpClashFlows, FlowTimeout: clash.FlowTimeout, Seed: clash.Seed,
		Duration: clash.Duration, Timeout: clash.Timeout, Enough: clash.Enough,
	}
	if c.Flows != nil || c.Clashes > 0 || c.Duration > 0 {
		cfg.Flows = clash.Flows
	}
	show, shown := s.progress(flowsOf(cfg.Flows))
	run, err := traffic.RunUDPClash(ctx, cfg, out.keep(cfg, show))
	shown()
	if err != nil {
		err = fmt.Errorf("clash: %w", err)
	}
	if run == nil {
		return errors.Join(err, counter.close(), out.close())
	}
	res := &udpClashResult{UDPClashResult: *run, Topology: c.Topology, NAT: c.NAT, ClashTarget: c.Clashes}
	var e error
	res.conntrackCounts, e = counter.counts(res.Sent)
	err = errors.Join(err, e, res.short(c.Clashes))
	if c.FailOnLoss && res.Lost > 0 {
		err = errors.Join(err, fmt.Errorf("clash: %d of %d replies lost", res.Lost, res.Sent))
	}
	return errors.Join(err, out.write("udpclash", res, func(w io.Writer) error { return res.summarize(w) }))
}

func (r *udpClashResult) summarize(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("udpclash", "%s port %d, %d threads, seed %d", r.Config.Target, r.Config.Port, traffic.UDPClashThreads, r.Config.Seed)
	if r.Topology != "" {
		row("path", "%s of its own, nat %s", r.Topology, r.NAT)
	}
	row("flows", "%d in %.3f s%s, %d without all replies", r.Flows, r.Seconds, ended(r.Ended), r.LossyFlows)
	row("packets", "%d sent, %d replies, %d lost", r.Sent, r.Replies, r.Lost)
	if r.SendErrors > 0 {
		row("send errors", "%d (%s), part of the loss", r.SendErrors, errnos(r.SendErrno))
	}
	r.rows(row)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}
