package testbed

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"verdictd/internal/ct"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/report"
	"verdictd/internal/results"
	"verdictd/internal/statistics"
)

// What conntrackwatch prints, as far as the report takes it over; verdictd's document is package statistics's, and
// those of stress are package results's. The documents are contracts between programs: a key that is missing is an
// error and never a zero, as a zero is what the lab wants to see.

// StatsOutput is what is taken over of `conntrackwatch stats --json`.
type StatsOutput struct {
	Total ct.Counters `json:"total"`
}

// eventsOutput is what is taken over of `conntrackwatch events --json`.
type eventsOutput struct {
	Total ct.Tally `json:"total"`
}

// TakeCounters ends conntrackwatch stats and then the daemon, if any, whose leave is no part of what the former
// counts, and takes over what they say: take is told the statistics in the daemon's file.
func TakeCounters(
	run *report.Run, stats, daemon *Process, file string, take func(run *report.Run, d *statistics.Document) error,
) error {
	if err := stats.Stop(syscall.SIGINT); err != nil {
		return err
	}
	if err := takeStats(run, stats.Stdout.Bytes()); err != nil {
		return err
	}
	if daemon == nil {
		return nil
	}
	if err := daemon.Stop(syscall.SIGTERM); err != nil {
		return err
	}
	d, err := ReadStatistics(file)
	if err != nil {
		return err
	}
	return take(run, d)
}

// ReadStatistics reads what verdictd left in a file.
func ReadStatistics(file string) (*statistics.Document, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read what verdictd counted: %w", err)
	}
	return statistics.Read(text)
}

// Decode reads one program's document. Keys are paths that must be there, such as "total.drop".
func Decode(program string, data []byte, into any, keys ...string) error {
	const known = 1
	var document map[string]json.RawMessage
	if err := json.Unmarshal(data, &document); err != nil {
		return fmt.Errorf("read the result of %s: %w", program, err)
	}
	var schema int
	if err := json.Unmarshal(document["schema"], &schema); err != nil || schema != known {
		return fmt.Errorf("the result of %s has schema %s, and this lab knows %d: use programs of one build", program,
			document["schema"], known)
	}
	for _, key := range keys {
		if !has(document, strings.Split(key, ".")) {
			return fmt.Errorf("the result of %s has no %q: use programs of one build", program, key)
		}
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read the result of %s: %w", program, err)
	}
	return nil
}

func has(document map[string]json.RawMessage, path []string) bool {
	value, ok := document[path[0]]
	if !ok || len(path) == 1 {
		return ok
	}
	var inner map[string]json.RawMessage
	return json.Unmarshal(value, &inner) == nil && has(inner, path[1:])
}

// TakeStress takes over the ledger of `stress clash`.
func TakeStress(run *report.Run, data []byte) error {
	var o results.Clash
	if err := Decode("stress", data, &o, "sent", "delivered", "lost", "duplicated", "reordered", "corrupted",
		"sources_changed", "received_from", "split", "send_errors"); err != nil {
		return err
	}
	run.Flows, run.Sent, run.Delivered = o.Flows, o.Sent, o.Delivered
	run.Lost, run.Duplicated, run.Reordered, run.Corrupted = o.Lost, o.Duplicated, o.Reordered, o.Corrupted
	run.SourcesChanged, run.ReceivedFrom, run.Split = o.SourcesChanged, o.ReceivedFrom, o.Split
	run.SendErrors, run.Seconds, run.PacketsPerSecond = o.SendErrors, o.Seconds, o.PacketsPerSecond
	run.ReceiverDropped = o.ReceiverDropped
	if o.EchoResult != nil {
		run.Echo = &report.Echo{
			Sent: o.EchoSent, Delivered: o.EchoDelivered, Lost: o.EchoLost,
			Duplicated: o.EchoDuplicated, Reordered: o.EchoReordered, Corrupted: o.EchoCorrupted,
		}
	}
	if o.TimedOut {
		return fmt.Errorf("stress ran out of time after %d of its flows: is the daemon too slow for --analysis?",
			o.Flows)
	}
	return nil
}

func takeStats(run *report.Run, data []byte) error {
	var o StatsOutput
	if err := Decode("conntrackwatch stats", data, &o, "total.clash_resolve", "total.insert_failed", "total.drop",
		"total.chain_toolong"); err != nil {
		return err
	}
	run.ClashResolve, run.InsertFailed = o.Total[ct.ClashResolve].Pointer(), o.Total[ct.InsertFailed].N
	run.Drop, run.ChainTooLong = o.Total[ct.Drop].N, o.Total[ct.ChainTooLong].Pointer()
	return nil
}

// TakeEvents takes over how many events `conntrackwatch events` has seen.
func TakeEvents(run *report.Run, data []byte) error {
	var o eventsOutput
	if err := Decode("conntrackwatch events", data, &o, "total.new", "total.update", "total.destroy"); err != nil {
		return err
	}
	seen := o.Total.New + o.Total.Update + o.Total.Destroy
	run.EventsSeen = &seen
	return nil
}

// TakeDaemon takes over the statistics of verdictd run.
func TakeDaemon(run *report.Run, d *statistics.Document) error {
	if d.Total == nil {
		return errors.New("verdictd's statistics tell of no queue")
	}
	for i := range d.Queues {
		run.QueuePackets = append(run.QueuePackets, d.Queues[i].Received)
	}
	t := d.Total
	run.VerdictErrors, run.QueueDropped, run.UserDropped = t.VerdictErrors, t.QueueDropped, t.UserDropped
	run.VerdictLatencyUS, run.CPUUSPerPacket, run.RSSKiB = &t.Latency, &d.CPUPerPacket, &d.RSS
	return takeGate(run, d)
}

// TakeGuard takes over the statistics of verdictd guard.
func TakeGuard(run *report.Run, d *statistics.Document) error {
	if d.Gate == nil {
		return errors.New("the statistics of verdictd guard tell of no gate")
	}
	run.RSSKiB = &d.RSS
	return takeGate(run, d)
}

// takeGate refuses a row with a guard that has no gate: it would look as if that had had nothing to do.
func takeGate(run *report.Run, d *statistics.Document) error {
	switch {
	case d.Gate != nil:
		run.SetGate(&d.Gate.Total)
	case run.Guard != "" && run.Guard != report.GuardOff && run.Exposed():
		return fmt.Errorf("verdictd's statistics tell of no gate, with guard %s", run.Guard)
	}
	return nil
}

// TakeQueues takes over what the kernel counts at the first queues of a namespace, those of the program.
func TakeQueues(run *report.Run, ns *netlab.NetNS, queues int) error {
	return ns.Do(func() error {
		list, err := nfq.ReadKernelQueues()
		for _, q := range list {
			if int(q.Queue) >= queues {
				continue
			}
			run.QueuePackets = append(run.QueuePackets, uint64(q.IDSequence))
			run.QueueDropped += uint64(q.QueueDropped)
			run.UserDropped += uint64(q.UserDropped)
		}
		return err
	})
}
