package observe

import (
	"errors"
	"fmt"
	"io"

	"verdictd/internal/netlab"
)

// OpenAll opens namespaces. Where it is lenient, those that this user may not watch, or that end meanwhile, are named
// in remarks and left out.
func OpenAll(names []netlab.NetNSName, lenient bool, remarks io.Writer) ([]*Source, error) {
	var sources []*Source
	for _, n := range names {
		s, err := Open(n)
		switch {
		case err == nil:
			sources = append(sources, s)
		case lenient:
			fmt.Fprintf(remarks, "conntrackwatch: left out: %v\n", err)
		default:
			return nil, errors.Join(err, CloseAll(sources))
		}
	}
	if len(sources) == 0 {
		return nil, errors.New("there is no network namespace that this user may watch: CAP_NET_ADMIN is needed in each")
	}
	return sources, nil
}

// CloseAll closes them all.
func CloseAll(sources []*Source) error {
	var errs []error
	for _, s := range sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
