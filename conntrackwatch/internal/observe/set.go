package observe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"verdictd/internal/netlab"
)

// Set is the namespaces to watch. It may be used by several goroutines.
type Set struct {
	list    func() ([]netlab.NetNSName, error) // nil: they are the ones named at the start
	remarks io.Writer

	mu      sync.Mutex
	sources []*Source
	said    map[string]bool
}

// OpenNamed opens namespaces by their names. Each stands for what has its name.
func OpenNamed(names []netlab.NetNSName) (*Set, error) {
	s := &Set{}
	for _, n := range names {
		source, err := Open(n)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.sources = append(s.sources, source)
	}
	return s, nil
}

// OpenListed opens whatever is listed, now and later. Those that this user may not watch,
// or that end meanwhile, are named in remarks and left out.
func OpenListed(list func() ([]netlab.NetNSName, error), remarks io.Writer) (*Set, error) {
	s := &Set{list: list, remarks: remarks, said: map[string]bool{}}
	if err := s.refresh(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if len(s.sources) == 0 {
		return nil, errors.New("there is no network namespace that this user may watch: CAP_NET_ADMIN is needed in each")
	}
	return s, nil
}

// Sources are the namespaces that there are now. One that is not among them any more is
// closed.
func (s *Set) Sources() []*Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(); err != nil {
		s.say(err.Error())
	}
	return slices.Clone(s.sources)
}

// refresh brings the sources in step with what is listed.
func (s *Set) refresh() error {
	if s.list == nil {
		return nil
	}
	names, err := s.list()
	if err != nil {
		return err
	}
	var sources []*Source
	for _, n := range names {
		at := slices.IndexFunc(s.sources, func(o *Source) bool { return o.is(n) })
		if at >= 0 {
			sources = append(sources, s.sources[at])
			s.sources = slices.Delete(s.sources, at, at+1)
			continue
		}
		source, err := Open(n)
		if err != nil {
			s.say("left out: " + err.Error())
			continue
		}
		source.kept = true // that it has gone is seen here
		sources = append(sources, source)
	}
	gone := s.sources
	s.sources = sources
	return closeAll(gone)
}

// say writes a remark once.
func (s *Set) say(what string) {
	if !s.said[what] {
		s.said[what] = true
		fmt.Fprintf(s.remarks, "conntrackwatch: %s\n", what)
	}
}

// Close closes all.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := closeAll(s.sources)
	s.sources, s.list = nil, nil
	return err
}

func closeAll(sources []*Source) error {
	var errs []error
	for _, s := range sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// is reports whether the source is the namespace that a name stands for.
func (s *Source) is(n netlab.NetNSName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Name != n.Name || s.ns == nil {
		return false
	}
	if s.path == n.Path && n.Name == "self" {
		return true
	}
	named, err := os.Stat(n.Path)
	if err != nil {
		return false
	}
	held, err := s.ns.File().Stat()
	return err == nil && os.SameFile(named, held)
}
