package liverules

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// A keeper is a part of a table that activates conntrack by being there, whether or
// not a rule names it.
type keeper struct {
	family Family
	table  string
	what   string
}

func (k keeper) String() string {
	return fmt.Sprintf("%s of nftables table %s %s", k.what, k.family, k.table)
}

// trackingObjects are the types of stateful objects that need conntrack
// (NFT_OBJECT_*): each calls nf_ct_netns_get when it is made.
var trackingObjects = map[uint32]string{
	3:                         "ct helper",
	unix.NFT_OBJECT_CONNLIMIT: "ct count",
	7:                         "ct timeout",
	9:                         "ct expectation",
	10:                        "synproxy",
}

// objects finds the stateful objects that need conntrack. Kernels before 4.10 have
// none.
func (d *dumper) objects() error {
	objects, err := d.dump(unix.NFT_MSG_GETOBJ, unix.NFPROTO_UNSPEC, nil)
	switch {
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("list the objects: %w", err)
	}
	for _, o := range objects {
		if kind := trackingObjects[o.u32(unix.NFTA_OBJ_TYPE)]; kind != "" {
			d.keepers = append(d.keepers, keeper{o.family, o.text(unix.NFTA_OBJ_TABLE), kind + " " + o.text(unix.NFTA_OBJ_NAME)})
		}
	}
	return nil
}

// Attributes of sets and of the statements that add to them, which hold what each of
// the elements has: one expression, or a list (since 5.7 and 5.11).
const (
	setExpression     = 17 // NFTA_SET_EXPR
	setExpressions    = 18 // NFTA_SET_EXPRESSIONS
	dynsetExpression  = unix.NFTA_DYNSET_EXPR
	dynsetExpressions = 10 // NFTA_DYNSET_EXPRESSIONS
)

// keptBySet notes a set whose elements count connections.
func (d *dumper) keptBySet(o object) error {
	counts, err := countsConnections(o.attributes, setExpression, setExpressions)
	if counts {
		d.keepers = append(d.keepers, keeper{o.family, o.text(unix.NFTA_SET_TABLE), "ct count in set " + o.text(unix.NFTA_SET_NAME)})
	}
	return err
}

// countsConnections looks for `ct count` in what elements have.
func countsConnections(a attributes, single, several uint16) (bool, error) {
	var list [][]byte
	if a.has(single) {
		list = append(list, a.get(single))
	}
	if a.has(several) {
		more, err := parseList(a.get(several))
		if err != nil {
			return false, err
		}
		list = append(list, more...)
	}
	for _, b := range list {
		e, err := parseAttributes(b)
		if err != nil {
			return false, err
		}
		if e.text(unix.NFTA_EXPR_NAME) == "connlimit" {
			return true, nil
		}
	}
	return false, nil
}

// dynset translates `add @set { .. }` and its like: where what the element has is
// exceeded, or the set is full, the rule ends.
func (t *translation) dynset(a attributes) error {
	counts, err := countsConnections(a, dynsetExpression, dynsetExpressions)
	t.rule.tracks = t.rule.tracks || counts
	t.unknown("[dynset]")
	return err
}
