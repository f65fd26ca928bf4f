package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"verdictd/daemon/internal/holders"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/liverules"
)

// Events says whether conntrack's entries deliver events.
type Events struct {
	On      liverules.Answer `json:"on"`
	Meaning string           `json:"meaning"`
	// Listeners are the sockets in conntrack's groups in this namespace. Those in others count
	// as well, and are not seen.
	Listeners kernelfacts.Reading[[]Listener] `json:"listeners"`
}

// Listener is a socket that gets conntrack's events.
type Listener struct {
	PortID  uint32   `json:"port_id"`
	Groups  []string `json:"groups"`
	Process *Process `json:"process"`
}

// The values of nf_conntrack_events.
const (
	eventsOff  = 0
	eventsAuto = 2
)

// eventGroups are NFNLGRP_CONNTRACK_NEW, _UPDATE and _DESTROY, group 1 first.
// Those of expectations switch nothing on (ctnetlink_has_listener).
var eventGroups = []string{"new", "update", "destroy"}

func readListeners(root fs.FS) ([]Listener, error) {
	sockets, err := holders.Sockets(root)
	if err != nil {
		return nil, err
	}
	listeners := []Listener{}
	for _, s := range sockets {
		l := Listener{PortID: s.PortID}
		for i, name := range eventGroups {
			if s.Groups>>i&1 != 0 {
				l.Groups = append(l.Groups, name)
			}
		}
		if len(l.Groups) > 0 {
			listeners = append(listeners, l)
		}
	}
	return listeners, nil
}

func (l *Listener) String() string {
	return fmt.Sprintf("port id %d, %s: %s", l.PortID, l.Process, strings.Join(l.Groups, ", "))
}

// conclude weighs the setting and the listeners.
func (e *Events) conclude(c kernelfacts.ConntrackSettings) {
	if err := c.Events.Err; err != nil {
		e.On, e.Meaning = liverules.Unknown, err.Error()
		if errors.Is(c.Count.Err, fs.ErrNotExist) {
			e.On, e.Meaning = liverules.No, "conntrack is not loaded"
		}
		return
	}
	e.Meaning = kernelfacts.EventsSetting(c.Events.Value)
	switch {
	case c.Events.Value == eventsOff:
		e.On = liverules.No
	case c.Events.Value != eventsAuto:
		e.On = liverules.Yes
	case e.Listeners.Err != nil:
		e.On = liverules.Unknown
	case len(e.Listeners.Value) > 0:
		e.On = liverules.Yes
		e.Meaning += "; somebody does"
	default:
		// The kernel asks whether anybody on the machine does (nf_ctnetlink_has_listener), and this sees one namespace.
		e.On = liverules.Unknown
		e.Meaning += "; nobody does in this namespace, and one in another counts as well"
	}
}
