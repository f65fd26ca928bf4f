package audit

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"

	"verdictd/daemon/internal/exposure"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
)

// Machine is all that was read, and what follows from it without weighing.
type Machine struct {
	Host *kernelfacts.Host `json:"host"`
	// Architecture is that of this program, in Go's names.
	Architecture string `json:"architecture"`

	Facts    []kernelfacts.Finding `json:"facts"`
	KmodRace kernelfacts.Finding   `json:"kmod_race"`

	Rules *liverules.Rules `json:"rules"`
	// Queues are those bound now.
	Queues   kernelfacts.Reading[[]BoundQueue] `json:"queues"`
	Events   Events                            `json:"events"`
	Bridging kernelfacts.Reading[Bridging]     `json:"bridging"`

	// Sequences are the queue rules behind each other on the way to the confirm.
	Sequences []Sequence `json:"sequences"`
	// DNAT are the queue rules whose packets may have got another destination
	// before.
	DNAT []Translated `json:"dnat_before_queue"`

	// Gates are the gates of this project's programs that are at work, be they in the
	// daemon or in verdictd guard.
	Gates []Gate `json:"gates,omitempty"`

	// Daemons are those of this project that run, and were asked.
	Daemons []Daemon `json:"daemons,omitempty"`

	// Unread is what could not be read.
	Unread []Unread `json:"unread"`

	// guarded are queues of the caller's, whose clashes its guard prevents.
	guarded []uint16
	gate    *exposure.Gate
}

// Unread is a part of the machine that could not be read.
type Unread struct {
	Part    string `json:"part"`
	Why     string `json:"why"`
	Meaning string `json:"meaning"` // for the answer
}

// BoundQueue is a queue that a program has bound.
type BoundQueue struct {
	Queue        uint16   `json:"queue"`
	PortID       uint32   `json:"port_id"`
	Holder       *Process `json:"holder"`
	Queued       uint32   `json:"queued"`
	CopyMode     uint8    `json:"copy_mode"`
	CopyRange    uint32   `json:"copy_range"`
	QueueDropped uint32   `json:"queue_dropped"`
	UserDropped  uint32   `json:"user_dropped"`
}

// Read reads the machine. What runs for long (rpm) is bounded by ctx and by
// limits of its own. Of daemons that were asked it is known what they guard.
func Read(ctx context.Context, daemons []Daemon) *Machine {
	m := read(ctx, os.DirFS("/"), kernelfacts.Run)
	m.Daemons, m.guarded = daemons, guards(daemons)
	m.holders(ctx)
	m.conclude()
	return m
}

// read reads what is quick to be had, unless run is slow: files below root, and of the
// calling thread's network namespace its rules, queues and interfaces.
func read(ctx context.Context, root fs.FS, run kernelfacts.Runner) *Machine {
	// All parts have to be those of one namespace.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m := &Machine{Host: kernelfacts.ReadHost(ctx, root, run), Architecture: runtime.GOARCH, Bridging: readBridging(root)}
	m.Rules, _ = liverules.Read() // the error is in Rules.Unread too
	bound, err := nfq.ReadKernelQueues()
	if !errors.Is(err, fs.ErrNotExist) { // without nfnetlink_queue there are no queues
		m.Queues.Err = err
	}
	m.Queues.Value = make([]BoundQueue, 0, len(bound))
	for _, q := range bound {
		m.Queues.Value = append(m.Queues.Value, BoundQueue{
			Queue: q.Queue, PortID: q.PortID, Queued: q.Queued, CopyMode: q.CopyMode, CopyRange: q.CopyRange,
			QueueDropped: q.QueueDropped, UserDropped: q.UserDropped,
		})
	}
	m.Events.Listeners.Value, m.Events.Listeners.Err = readListeners(root)
	return m
}

// conclude derives what follows from what was read.
func (m *Machine) conclude() {
	m.Facts, m.KmodRace = kernelfacts.Assess(m.Host), kernelfacts.AssessKmod(m.Host.Kmod)
	m.Events.conclude(m.Host.Conntrack)
	m.findGates()
	m.Sequences, m.DNAT = m.sequences(), m.translated()
	m.Unread = m.unread()
}

// module is the state of a part of the kernel.
func (m *Machine) module(name string) kernelfacts.ModuleState {
	for _, module := range m.Host.Modules {
		if module.Name == name {
			return module.State
		}
	}
	return kernelfacts.ModuleUnknown
}

// fact is what was found of the fact of that name.
func (m *Machine) fact(id string) kernelfacts.Finding {
	if i := slices.IndexFunc(m.Facts, func(f kernelfacts.Finding) bool { return f.ID == id }); i >= 0 {
		return m.Facts[i]
	}
	return kernelfacts.Finding{Fact: kernelfacts.Fact{ID: id}, Status: kernelfacts.Unknown, Reason: "not assessed"}
}

// unread lists what could not be read, with what that means.
func (m *Machine) unread() []Unread {
	list := []Unread{}
	add := func(part string, err error, meaning string) {
		if err != nil {
			list = append(list, Unread{part, err.Error(), meaning})
		}
	}
	for _, u := range m.Rules.Unread {
		list = append(list, Unread{"rules: " + u.What, u.Why, "rules may be missing here: that none is seen means nothing"})
	}
	h := m.Host
	add("kernel", h.Kernel.Err, "no fault of the kernel can be judged")
	add("distribution", h.Distribution.Err, "who made the kernel is told by its own names alone")
	if unknown := slices.ContainsFunc(m.Facts, func(f kernelfacts.Finding) bool { return f.Status == kernelfacts.Unknown }); unknown && !errors.Is(h.Changelog.Err, kernelfacts.ErrNoPackages) {
		add("kernel package's changelog", asked(h.Changelog.Err), "fixes that its maker added do not show: what the version leaves open stays unknown")
	}
	add("kmod", asked(h.Kmod.Err), "whether loading modules in parallel can fail is not known")
	if m.conntrackThere() {
		add("net.netfilter.nf_conntrack_events", h.Conntrack.Events.Err, "whether entries deliver events, which the crash of a clash needs, is not known")
	}
	add("queues", m.Queues.Err, "who holds the queues, and what they dropped, is not known; the verdict does not rest on it")
	add("netlink sockets", m.Events.Listeners.Err, "who listens to conntrack's events is not known")
	add("bridges", m.Bridging.Err, "whether bridged packets come to the rules is not known")
	if u := h.UserNamespaces; u.Access == kernelfacts.UserNamespacesUnknown {
		list = append(list, Unread{"user namespaces", u.Reason, "whether any local user can make the kernel's faults happen is not known"})
	}
	return list
}

// conntrackThere says whether the namespace has conntrack's settings at all.
func (m *Machine) conntrackThere() bool {
	return !errors.Is(m.Host.Conntrack.Count.Err, fs.ErrNotExist)
}
