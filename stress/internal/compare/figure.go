package compare

import (
	"slices"
	"strings"

	"verdictd/internal/ct"
)

// Direction is which way a figure is better.
type Direction int

// The directions.
const (
	Neutral Direction = iota
	Higher
	Lower
)

// directions are those of the figures that have one, by the last part of their names, or all but the last. The counts
// of what a guard does are neutral: more of them is no fault.
var directions = map[string]Direction{
	"delivered": Higher, "echo_delivered": Higher, "packets_per_second": Higher, "bits_per_second": Higher,
	"packets_per_receive": Higher, "packets_per_second_per_core": Higher, "resolved": Higher,

	"clashes": Lower, "clash_resolve": Lower, "clashes_per_1000": Lower, "insert_failed": Lower, "drop": Lower,
	"lost": Lower, "echo_lost": Lower, "duplicated": Lower, "reordered": Lower, "corrupted": Lower,
	"sources_changed": Lower,
	"echo_duplicated": Lower, "echo_reordered": Lower, "echo_corrupted": Lower, "send_errors": Lower,
	"echo_send_errors": Lower,
	"queue_dropped":    Lower, "user_dropped": Lower, "receiver_dropped": Lower, "unguarded": Lower, "split": Lower,
	"cpu_us_per_packet": Lower, "cpu_us_per_event": Lower, "kernel_reports": Lower, "retries": Lower, "retried": Lower,
	"timeouts": Lower, "failed": Lower, "failures": Lower, "expired": Lower, "violations": Lower,

	"latency_us": Lower, "round_trip_us": Lower, "verdict_latency_us": Lower, "resolution_ms": Lower, "lag_us": Lower,
	"spread_us": Neutral,
}

// twins are figures that most often say the same as another one.
var twins = map[string]string{
	"clash_resolve": "clashes", "insert_failed": "clashes", "clashes_per_packet": "clashes", "clashes_per_1000": "clashes",
}

// units are those of figures, by a part of their names.
var units = []struct{ part, unit string }{
	{"_us_per_", " us"}, {"packets_per_second_per_core", "/s"}, {"_per_second", "/s"}, {"_us", " us"}, {"_ms", " ms"}, {"seconds", " s"}, {"_kib", " KiB"},
	{"_bytes", " bytes"},
}

// unit is what a figure's numbers are followed by.
func unit(figure string) string {
	for _, u := range units {
		if strings.Contains(figure, u.part) {
			return u.unit
		}
	}
	return ""
}

// direction looks for the longest known end or beginning of a name such as echo.latency_us.p99.
func direction(figure string) Direction {
	parts := strings.Split(figure, ".")
	for _, part := range slices.Backward(parts) {
		if d, ok := directions[part]; ok {
			return d
		}
	}
	return Neutral
}

// derive adds figures that follow from others: clashes, of conntrack's counters, see [ct.Counters.Clashes].
func derive(figures map[string]float64) {
	if _, ok := figures["clashes"]; ok {
		return
	}
	var counted ct.Counters
	for _, c := range ct.AllCounters() {
		if v, ok := figures[c.String()]; ok {
			counted[c] = ct.Value{N: uint64(v), Sent: true}
		}
	}
	if clashes := counted.Clashes(); clashes.Sent {
		figures["clashes"] = float64(clashes.N)
	}
}
