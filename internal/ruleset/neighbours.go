package ruleset

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// keptIn is what a table's rules keep verdicts on flows in; 0: none.
var keptIn = regexp.MustCompile(`in bits (0x[0-9a-f]+)`)

// alone reports another verdictd's table in this network namespace that keeps verdicts on
// flows in the same bits of conntrack's mark: each would take the other one's for its own.
func (v *Verdicts) alone(table string) (err error) {
	tables, err := listTables()
	if err != nil {
		return err
	}
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: largestDatagram})
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for _, t := range tables {
		if t.Name == table {
			continue
		}
		r := &reader{conn: conn, table: t.Name, whatever: true}
		rules, err := r.ask(unix.NFT_MSG_GETRULE, netlink.Dump, text(unix.NFTA_RULE_TABLE, t.Name), text(unix.NFTA_RULE_CHAIN, judgedChain))
		if err != nil {
			continue // no such chain, or it has gone
		}
		for _, m := range rules {
			found := keptIn.FindSubmatch(attributesOf(m.Data[nfgenmsgLength:])[unix.NFTA_RULE_USERDATA])
			if found == nil {
				continue
			}
			if bits, _ := strconv.ParseUint(string(found[1]), 0, 32); vocabulary.Marks(bits)&v.ConnMark != 0 {
				return fmt.Errorf("table inet %s keeps verdicts on flows in bits %s of conntrack's mark: choose others for table inet %s (rules.connmark_mask)", t.Name, found[1], table)
			}
		}
	}
	return nil
}
