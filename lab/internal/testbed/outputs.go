package testbed

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"

	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/report"
	"verdictd/internal/results"
)

// What verdictd and conntrackwatch print or write, as far as the report takes it over; package results has what stress does.
// The documents are contracts between
// programs: a key that is missing is an error and never a zero, as a zero is what the lab wants to see.

type StatsOutput struct {
	Total struct {
		ClashResolve *uint64 `json:"clash_resolve"`
		InsertFailed uint64  `json:"insert_failed"`
		Drop         uint64  `json:"drop"`
		ChainTooLong *uint64 `json:"chain_toolong"`
	} `json:"total"`
}

type eventsOutput struct {
	Total struct {
		New     uint64 `json:"new"`
		Update  uint64 `json:"update"`
		Destroy uint64 `json:"destroy"`
	} `json:"total"`
}

// daemonOutput is the statistics of verdictd run, and of verdictd guard, which has no queues of its own.
type daemonOutput struct {
	Queues []struct {
		Received uint64 `json:"received"`
	} `json:"queues"`
	Total struct {
		VerdictErrors  uint64         `json:"verdict_errors"`
		QueueDropped   uint64         `json:"queue_dropped"`
		UserDropped    uint64         `json:"user_dropped"`
		VerdictLatency report.Latency `json:"verdict_latency_us"`
	} `json:"total"`
	Gate *struct {
		Total report.Gate `json:"total"`
	} `json:"gate"`
	CPUPerPacket float64       `json:"cpu_us_per_packet"`
	RSS          report.Memory `json:"rss_kib"`
}

// statisticsSchema is that of verdictd's statistics; every other program's document has 1.
const statisticsSchema = 2

// gateKeys must be there where a gate is.
var gateKeys = []string{
	"gate.total.first", "gate.total.held", "gate.total.confirmed", "gate.total.gone", "gate.total.dropped", "gate.total.expired",
	"gate.total.unguarded", "gate.total.listed", "gate.total.vanished", "gate.total.queue_dropped", "gate.total.user_dropped",
	"gate.total.held_us", "gate.total.first_us",
}

// DecodeStatistics reads what verdictd wrote, which must have these keys, and those of a gate if that is told of.
func DecodeStatistics(data []byte, into any, keys ...string) error {
	var o struct {
		Gate json.RawMessage `json:"gate"`
	}
	if err := json.Unmarshal(data, &o); err == nil && len(o.Gate) > 0 && string(o.Gate) != "null" {
		keys = append(keys, gateKeys...)
	}
	return decodeAs(statisticsSchema, "verdictd", data, into, keys...)
}

// TakeCounters ends conntrackwatch stats and then the daemon, if any, whose leave is no part of what the former counts, and
// takes over what they say: take is told the daemon's statistics.
func TakeCounters(
	run *report.Run, stats, daemon *Process, statistics string, take func(run *report.Run, document []byte) error,
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
	document, err := os.ReadFile(statistics)
	if err != nil {
		return fmt.Errorf("read what verdictd counted: %w", err)
	}
	return take(run, document)
}

// Decode reads one program's document. Keys are paths that must be there, such as "total.drop".
func Decode(program string, data []byte, into any, keys ...string) error {
	return decodeAs(1, program, data, into, keys...)
}

func decodeAs(known int, program string, data []byte, into any, keys ...string) error {
	var document map[string]json.RawMessage
	if err := json.Unmarshal(data, &document); err != nil {
		return fmt.Errorf("read the result of %s: %w", program, err)
	}
	var schema int
	if err := json.Unmarshal(document["schema"], &schema); err != nil || schema != known {
		return fmt.Errorf("the result of %s has schema %s, and this lab knows %d: use programs of one build", program, document["schema"], known)
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

func TakeStress(run *report.Run, data []byte) error {
	var o results.Clash
	if err := Decode("stress", data, &o, "sent", "delivered", "lost", "duplicated", "reordered", "corrupted", "sources_changed", "received_from", "split", "send_errors"); err != nil {
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
		return fmt.Errorf("stress ran out of time after %d of its flows: is the daemon too slow for --analysis?", o.Flows)
	}
	return nil
}

func takeStats(run *report.Run, data []byte) error {
	var o StatsOutput
	if err := Decode("conntrackwatch stats", data, &o, "total.clash_resolve", "total.insert_failed", "total.drop", "total.chain_toolong"); err != nil {
		return err
	}
	run.ClashResolve, run.InsertFailed = o.Total.ClashResolve, o.Total.InsertFailed
	run.Drop, run.ChainTooLong = o.Total.Drop, o.Total.ChainTooLong
	return nil
}

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
func TakeDaemon(run *report.Run, data []byte) error {
	var o daemonOutput
	if err := DecodeStatistics(data, &o, "queues", "total.verdict_errors", "total.queue_dropped", "total.user_dropped",
		"total.verdict_latency_us", "cpu_us_per_packet", "rss_kib"); err != nil {
		return err
	}
	for _, q := range o.Queues {
		run.QueuePackets = append(run.QueuePackets, q.Received)
	}
	t := &o.Total
	run.VerdictErrors, run.QueueDropped, run.UserDropped = t.VerdictErrors, t.QueueDropped, t.UserDropped
	run.VerdictLatencyUS, run.CPUUSPerPacket, run.RSSKiB = &t.VerdictLatency, &o.CPUPerPacket, &o.RSS
	return takeGate(run, &o)
}

// TakeGuard takes over the statistics of verdictd guard.
func TakeGuard(run *report.Run, data []byte) error {
	var o daemonOutput
	if err := DecodeStatistics(data, &o, "gate.total", "rss_kib"); err != nil {
		return err
	}
	run.RSSKiB = &o.RSS
	return takeGate(run, &o)
}

// takeGate refuses a row with a guard that has no gate: it would look as if that had had nothing to do.
func takeGate(run *report.Run, o *daemonOutput) error {
	switch {
	case o.Gate != nil:
		run.SetGate(&o.Gate.Total)
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
