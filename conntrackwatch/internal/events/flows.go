package events

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"verdictd/conntrackwatch/internal/census"
	"verdictd/internal/vocabulary"
)

// writeFlows writes what the census has found.
func writeFlows(w io.Writer, s *census.Summary) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	table := func(title string, rows map[vocabulary.Protocol]census.Quantiles) {
		if len(rows) == 0 {
			return
		}
		fmt.Fprintf(t, "\n%s\tflows\tmedian\t90 %%\t99 %%\tlongest\t\n", title)
		for _, protocol := range slices.Sorted(maps.Keys(rows)) {
			q := rows[protocol]
			fmt.Fprintf(t, "%v\t%d\t%.3f s\t%.3f s\t%.3f s\t%.3f s\t\n", protocol, q.Count, q.P50, q.P90, q.P99, q.Max)
		}
	}
	table("lived", s.Lifetimes)
	table("open, for", s.Open)
	if len(s.Talkers) > 0 {
		fmt.Fprintln(t, "\naddress\tflows begun\tat most too many\tpackets\tbytes\t")
		for _, talker := range s.Talkers {
			fmt.Fprintf(t, "%v\t%d\t%d\t%d\t%d\t\n", talker.Address, talker.Flows, talker.Overcount, talker.Packets,
				talker.Bytes)
		}
	}
	fmt.Fprintln(t)
	if err := t.Flush(); err != nil {
		return err
	}
	var text strings.Builder
	remark := func(n uint64, words string) {
		if n > 0 {
			fmt.Fprintf(&text, "%d %s\n", n, words)
		}
	}
	remark(s.Older, "flows were there already")
	remark(s.OlderEnded, "flows ended whose beginning was not seen")
	remark(s.Untracked, "flows found no room to be followed: give more by --flows")
	if c := s.Corrections; c.Readings > 0 {
		fmt.Fprintf(&text, "after losses the kernel's table was read %d times: %d flows had begun, %d had changed and %d had ended unseen\n",
			c.Readings, c.New, c.Update, c.Destroy)
	}
	_, err := io.WriteString(w, text.String())
	return err
}
