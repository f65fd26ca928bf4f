package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// CrashSchema is the version of the document of `lab kernel crash --json`, as Schema is of the matrix's.
const CrashSchema = 2

// Kernels of a crash report, beside the variants of package kbuild.
const (
	KernelFixed      = "fixed"
	KernelVulnerable = "vulnerable"
	KernelEL7Shape   = "el7-shape"
	KernelOwn        = "own" // an image of the user's, of which nothing is known
)

// Outcomes of a row.
const (
	OutcomeFires        = "fires"        // the kernel reported the fault that the row is about
	OutcomeClean        = "clean"        // it did not, and it would have been seen
	OutcomeInconclusive = "inconclusive" // the row says nothing, and why is in its problems
)

// CrashSignatures are package crash's names of that fault.
func CrashSignatures() []string {
	return []string{"nf_conntrack_confirm", "nf_ct_deliver_cached_events"}
}

// CrashReport is rows of one workload on kernels in virtual machines.
type CrashReport struct {
	Schema      int           `json:"schema"`
	Version     string        `json:"version"`
	Host        CrashHost     `json:"host"`
	Settings    CrashSettings `json:"settings"`
	Kernels     []CrashKernel `json:"kernels"`
	Started     time.Time     `json:"started"`
	Command     []string      `json:"command,omitempty"` // the command line that made it
	Seconds     float64       `json:"seconds"`
	Planned     int           `json:"planned"`
	Interrupted bool          `json:"interrupted"`
	Notes       []string      `json:"notes"`
	Rows        []CrashRow    `json:"rows"`
	Summary     []CrashSum    `json:"summary"`
	Verdict     Verdict       `json:"verdict"`
}

// CrashHost is the machine around the virtual ones.
type CrashHost struct {
	Kernel       string `json:"kernel"`
	Architecture string `json:"architecture"`
	CPUs         int    `json:"cpus"`
	Accelerator  string `json:"accelerator"` // kvm or tcg
}

// CrashSettings are what all rows share.
type CrashSettings struct {
	Flows  int `json:"flows"`
	Burst  int `json:"burst"`
	Queues int `json:"queues"`
	CPUs   int `json:"cpus"`
	Repeat int `json:"repeat"`
}

// CrashKernel is an image that rows ran on.
type CrashKernel struct {
	Kernel  string `json:"kernel"`
	Image   string `json:"image"`
	Release string `json:"release"`
	Source  string `json:"source"`
	KASAN   bool   `json:"kasan"`
}

// CrashRow is one boot of one kernel with one run of the workload, which is a Run of the matrix inside of it.
type CrashRow struct {
	Kernel  string `json:"kernel"`
	Repeat  int    `json:"repeat"` // counts from 1
	Release string `json:"release"`
	KASAN   bool   `json:"kasan"` // the kernel has the detector

	Run

	// Partial says that the machine ended before its workload: flows and clashes are then those that it had told of.
	Partial bool   `json:"partial"`
	Ended   string `json:"ended"` // as package vm says it: exited, panic, timeout, lost
	// SecondsToFire is from the start of stress, which begins to send a moment later, to the report, by the guest's
	// clock; nil without either.
	SecondsToFire *float64 `json:"seconds_to_fire"`
	BootSeconds   float64  `json:"boot_seconds"`
	TotalSeconds  float64  `json:"total_seconds"`

	// Report is the first lines of what the kernel reported, Signature what it was recognised as, About what is known
	// of it.
	Report    []string `json:"report"`
	Signature string   `json:"signature"`
	About     string   `json:"about"`
	// Others are titles of further reports, of another kind.
	Others []string `json:"others"`

	// Expected is an outcome, or "" where nothing is known of the kernel.
	Expected string   `json:"expected"`
	Outcome  string   `json:"outcome"`
	Problems []string `json:"problems"` // why it is inconclusive, and what it promised and did not keep
}

// CrashSum is all repeats of a row.
type CrashSum struct {
	Kernel       string    `json:"kernel"`
	Guard        string    `json:"guard"`
	Program      string    `json:"program"`
	Placement    string    `json:"placement"`
	Fanout       string    `json:"fanout"`
	Events       string    `json:"events"`
	Expected     string    `json:"expected"`
	Runs         int       `json:"runs"`
	Fires        int       `json:"fires"`
	Clean        int       `json:"clean"`
	Inconclusive int       `json:"inconclusive"`
	Flows        uint64    `json:"flows"`
	Clashes      uint64    `json:"clash_resolve"`
	Lost         uint64    `json:"lost"`
	Held         uint64    `json:"held"`
	Seconds      []float64 `json:"seconds_to_fire"` // ascending
}

// Name is the row in words.
func (r *CrashRow) Name() string {
	name := r.Kernel + " kernel, "
	if r.Placement == PlacementPreConntrack {
		name += r.Placement
	} else {
		name += "guard " + r.Guard
	}
	if r.foreign() {
		name += ", " + r.Program
	}
	if r.Events == EventsOff {
		name += ", events off"
	}
	return name
}

// Line is the row and what came of it, for progress.
func (r *CrashRow) Line() string {
	line := fmt.Sprintf("%s: %s", r.Name(), r.Outcome)
	if r.Outcome == OutcomeFires && r.SecondsToFire != nil {
		line += fmt.Sprintf(" after %.1f s", *r.SecondsToFire)
	}
	line += fmt.Sprintf(", %s clashes in %s flows, %s lost", count(r.Clashes()), count(r.Flows), count(r.Lost))
	if len(r.Problems) > 0 {
		line += ": " + strings.Join(r.Problems, "; ")
	}
	return line
}

// foreign says that another program than verdictd gives the verdicts.
func (r *Run) foreign() bool { return r.Program != ProgramVerdictd && r.Program != "" }

// exposed says whether the row's premise is clashes.
func (r *CrashRow) exposed() bool { return r.Guard == GuardOff && r.Exposed() }

// Judge sets the row's outcome and problems. Ok is whether the row is as it was expected to be.
func (r *CrashRow) Judge() (ok bool) {
	r.Problems = []string{}
	problem := func(format string, args ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, args...)) }
	fires := slices.Contains(CrashSignatures(), r.Signature)
	switch {
	case fires:
		r.Outcome = OutcomeFires
	case r.Error != "":
		problem("%s", r.Error)
	case r.Partial:
		problem("the machine ended early (%s), and its kernel said nothing that is known", r.Ended)
	case len(r.Others) > 0:
		problem("the kernel reported something else: %s", r.Others[0])
	case r.Flows == 0 || r.Sent == 0:
		problem("no packet was sent")
	case r.exposed() && r.Clashes() == 0:
		problem("no clash, without which the fault cannot show")
	case r.exposed() && r.Events == EventsListener && r.EventsSeen != nil && *r.EventsSeen == 0:
		problem("the listener saw no event, without which the fault cannot show")
	case r.exposed() && !r.KASAN:
		problem("the kernel has no KASAN, without which a use after free mostly goes unseen")
	case !r.exposed() && r.Queued() == 0:
		problem("no packet went through the queue")
	case r.Guard != GuardOff && r.Held+r.GateDropped() == 0:
		problem("the guard met no further packet, and so had nothing to prevent")
	default:
		r.Outcome = OutcomeClean
	}
	if len(r.Problems) > 0 {
		r.Outcome = OutcomeInconclusive
		return false
	}
	// Beyond the outcome, a guard and a placement promise more. A report that comes in spite of them is judged by
	// that alone.
	if !r.exposed() && !fires {
		if n := r.Clashes(); n > 0 {
			problem("%s clashes", count(n))
		}
		if n := r.Expired + r.Unguarded; n > 0 {
			problem("%s held packets went on before their flow was confirmed", count(n))
		}
		if r.Lost > 0 {
			problem("%s of %s packets lost (%s)", count(r.Lost), count(r.Sent), whereabouts(&r.Run))
		}
	}
	return len(r.Problems) == 0 && (r.Expected == "" || r.Outcome == r.Expected)
}

// JudgeCrash judges every row, sums them up and says what they come to.
func JudgeCrash(rep *CrashReport) {
	v := Verdict{Failures: []string{}}
	rep.Summary = []CrashSum{}
	for i := range rep.Rows {
		r := &rep.Rows[i]
		if !r.Judge() {
			what := strings.Join(r.Problems, "; ")
			if r.Expected != "" && r.Outcome != r.Expected {
				what = strings.TrimPrefix(what+"; ", "; ") + fmt.Sprintf("%s, and not %s", r.Outcome, r.Expected)
			}
			v.Failures = append(v.Failures, r.Name()+": "+what)
		}
		rep.sum(r)
	}
	for i := range rep.Summary {
		slices.Sort(rep.Summary[i].Seconds)
	}
	switch failed := len(v.Failures); {
	case rep.Interrupted:
		v.Line = fmt.Sprintf("INTERRUPTED after %d of %d machines", len(rep.Rows), rep.Planned)
	case len(rep.Rows) == 0:
		v.Line = "FAILED: nothing was run"
	case failed > 0:
		v.Line = fmt.Sprintf("FAILED: %d of %d machines are not as expected: %s", failed, len(rep.Rows), v.Failures[0])
	default:
		v.OK, v.Line = true, rep.line()
	}
	rep.Verdict = v
}

// sum adds a row to its line of the summary.
func (rep *CrashReport) sum(r *CrashRow) {
	at := slices.IndexFunc(rep.Summary, func(s CrashSum) bool {
		return s.Kernel == r.Kernel && s.Guard == r.Guard && s.Program == r.Program && s.Placement == r.Placement &&
			s.Events == r.Events
	})
	if at < 0 {
		at = len(rep.Summary)
		rep.Summary = append(rep.Summary, CrashSum{
			Kernel: r.Kernel, Guard: r.Guard, Program: r.Program, Placement: r.Placement, Fanout: r.Fanout,
			Events: r.Events, Expected: r.Expected, Seconds: []float64{},
		})
	}
	s := &rep.Summary[at]
	s.Runs++
	switch r.Outcome {
	case OutcomeFires:
		s.Fires++
	case OutcomeClean:
		s.Clean++
	default:
		s.Inconclusive++
	}
	s.Flows += r.Flows
	s.Clashes += r.Clashes()
	s.Lost += r.Lost
	s.Held += r.Held
	if r.SecondsToFire != nil && r.Outcome == OutcomeFires {
		s.Seconds = append(s.Seconds, *r.SecondsToFire)
	}
}

// line says what rows without a failure show, and no more.
func (rep *CrashReport) line() string {
	var parts []string
	for _, s := range rep.Summary {
		what := fmt.Sprintf("%s, guard %s", s.Kernel, s.Guard)
		switch {
		case s.Placement == PlacementPreConntrack:
			what = s.Kernel + ", " + s.Placement
		case s.Events == EventsOff:
			what = s.Kernel + ", events off"
		}
		if s.Program != ProgramVerdictd && s.Program != "" {
			what += ", " + s.Program
		}
		outcome := fmt.Sprintf("no report in %s flows", count(s.Flows))
		if s.Clashes > 0 {
			outcome = fmt.Sprintf("no report in %s clashes", count(s.Clashes))
		}
		if s.Fires > 0 {
			outcome = fmt.Sprintf("fires %d of %d", s.Fires, s.Runs)
		}
		parts = append(parts, what+": "+outcome)
	}
	return strings.Join(parts, "; ")
}
