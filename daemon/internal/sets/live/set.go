package live

import (
	"slices"
	"sync"
	"time"

	"verdictd/daemon/internal/policy"
	"verdictd/daemon/internal/sets"
	"verdictd/internal/vocabulary"
)

// Source is what a set is declared as.
type Source struct {
	Name    string
	Type    vocabulary.SetType
	Entries []string
	// File has further entries; "": there is none.
	File string
}

// Same reports whether two are the same.
func (src *Source) Same(o *Source) bool {
	return src.Name == o.Name && src.Type == o.Type && src.File == o.File && slices.Equal(src.Entries, o.Entries)
}

// Set is a set that is in force. Of its four that of its type is used.
type Set struct {
	Source
	Prefixes policy.Set[sets.Prefixes]
	Ports    policy.Set[sets.Ports]
	Names    policy.Set[sets.Names]
	Pairs    policy.Set[sets.Pairs]

	mutex  sync.Mutex
	health Health
	watch  watched // the watcher's
}

// Health is how a set fares.
type Health struct {
	Entries int
	Loaded  time.Time
	// Loads is how often it was built, Errors how often its file could not be read or was
	// wrong since.
	Loads, Errors uint64
	// Error is why the file as it is now is not in force; nil: it is.
	Error error
}

// Health tells how the set fares now.
func (s *Set) Health() Health {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.health
}

// force has what was built take the place of what there was.
func (s *Set) force(b built) {
	var info sets.Info
	switch {
	case b.prefixes != nil:
		s.Prefixes.Store(b.prefixes)
		info = b.prefixes.Info
	case b.ports != nil:
		s.Ports.Store(b.ports)
		info = b.ports.Info
	case b.names != nil:
		s.Names.Store(b.names)
		info = b.names.Info
	default:
		s.Pairs.Store(b.pairs)
		info = b.pairs.Info
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.health.Entries, s.health.Loaded, s.health.Error = info.Entries, info.Loaded, nil
	s.health.Loads++
}

// fail notes why the file is not in force.
func (s *Set) fail(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.health.Error = err
	s.health.Errors++
}
