package main

import (
	"fmt"
	"strconv"
	"strings"

	"verdictd/daemon/internal/exposure"
)

// queueRange is queues by number, as --queue names them: N or N-M.
type queueRange struct{ First, Last uint16 }

// UnmarshalText is kong's.
func (r *queueRange) UnmarshalText(text []byte) error {
	first, last, found := strings.Cut(string(text), "-")
	if !found {
		last = first
	}
	a, err := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	if err != nil || err2 != nil || a > b {
		return fmt.Errorf("%q is no queue number or range: write one like 4 or 0-3, up to 65535", text)
	}
	r.First, r.Last = uint16(a), uint16(b)
	return nil
}

// ranges are those of the flags.
func ranges(list []queueRange) (queues []exposure.QueueRange) {
	for _, r := range list {
		queues = append(queues, exposure.QueueRange(r))
	}
	return queues
}
