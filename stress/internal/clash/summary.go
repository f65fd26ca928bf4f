package clash

import (
	"io"

	"verdictd/internal/results"
	"verdictd/internal/traffic"
	"verdictd/stress/internal/summary"
)

// summarize writes what a person wants to know first.
func summarize(w io.Writer, res *results.Clash) error {
	c := res.Config
	t := summary.New(w)
	echo := ""
	if c.Echo {
		echo = ", echo"
	}
	t.Row("clash", "%s port %d, bursts of %d x %d bytes, mode %s, %d thread(s), pace %s, seed %d%s",
		c.Target, c.Port, c.Burst, c.Size, c.Mode, c.Threads, c.Pace, c.Seed, echo)
	t.Way(res.Way)
	t.Row("flows", "%d in %.3f s%s", res.Flows, res.Seconds, summary.Ended(res.Ended))
	t.Row("packets", "%d sent, %d delivered, %.0f/s", res.Sent, res.Delivered, res.PacketsPerSecond)
	t.Row("faults", "%d lost, %d duplicated, %d reordered, %d corrupted", res.Lost, res.Duplicated, res.Reordered,
		res.Corrupted)
	if len(c.Backends) > 0 {
		t.Row("split", "%d flows whose packets arrived at several of %v", res.Split, c.Backends)
	}
	t.SendErrors(res.SendErrors, res.SendErrno)
	t.ReceiverDropped(res.ReceiverDropped, res.ReceiveBuffer)
	if res.Foreign > 0 {
		t.Row("foreign", "%d packets of another run", res.Foreign)
	}
	t.Conntrack(&res.Conntrack)
	t.Row("latency", "%s", summary.Quantiles(res.Latency))
	if res.Spread != nil {
		t.Row("spread", "%s between the first packets of a burst's threads", summary.Quantiles(*res.Spread))
	}
	if res.Lag != nil {
		t.Row("lag", "%s behind the schedule", summary.Quantiles(*res.Lag))
	}
	if e := res.EchoResult; e != nil {
		t.Row("echoes", "%d sent, %d delivered", e.EchoSent, e.EchoDelivered)
		t.Row("echo faults", "%d lost, %d duplicated, %d reordered, %d corrupted", e.EchoLost, e.EchoDuplicated,
			e.EchoReordered, e.EchoCorrupted)
		if e.EchoSendErrors > 0 {
			t.Row("echo errors", "%d (%s), part of the loss", e.EchoSendErrors, summary.Counts(e.EchoSendErrno))
		}
		t.Row("round trip", "%s", summary.Quantiles(e.RoundTrip))
	}
	return t.Flush()
}

func summarizeUDPClash(w io.Writer, res *results.UDPClash) error {
	t := summary.New(w)
	t.Row("udpclash", "%s port %d, %d threads, seed %d", res.Config.Target, res.Config.Port, traffic.UDPClashThreads,
		res.Config.Seed)
	t.Way(res.Way)
	t.Row("flows", "%d in %.3f s%s, %d without all replies", res.Flows, res.Seconds, summary.Ended(res.Ended),
		res.LossyFlows)
	t.Row("packets", "%d sent, %d replies, %d lost", res.Sent, res.Replies, res.Lost)
	t.SendErrors(res.SendErrors, res.SendErrno)
	t.Conntrack(&res.Conntrack)
	return t.Flush()
}
