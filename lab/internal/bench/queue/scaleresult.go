package queue

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"verdictd/internal/report"
	"verdictd/lab/internal/bench"
)

// ScaleResult is what `lab bench scale --json` writes.
type ScaleResult struct {
	bench.Head[report.Host, scaleSettings, sample]
	Curves []scaleCurve `json:"curves"`
	Memory scaleMemory  `json:"memory"`
	Model  *model       `json:"model"`
	bench.Judgement
}

type scaleSettings struct {
	Rounds    int `json:"rounds"`
	Packets   int `json:"packets"`
	Fresh     int `json:"fresh_packets"`
	Window    int `json:"window"`
	Payload   int `json:"payload_bytes"`
	LoadCPU   int `json:"load_cpu"`
	DaemonCPU int `json:"daemon_cpu"`
}

// A scaleCurve is what a packet costs as one thing grows.
type scaleCurve struct {
	Name   string       `json:"name"`
	Unit   string       `json:"unit"`
	Points []scalePoint `json:"points"`
}

type scalePoint struct {
	X int `json:"x"`
	summary
}

// scaleMemory is resident memory by what it grows with, in bytes; nil where it was not measured.
type scaleMemory struct {
	Flow  *float64 `json:"bytes_per_flow"`
	Queue *float64 `json:"bytes_per_queue"`
	Entry *float64 `json:"bytes_per_set_entry"`
}

// judge fills in curves, ratios and the verdict.
func (r *ScaleResult) judge(list []variant, required []bench.Requirement, missing map[string]error) {
	r.Notes, r.Curves = []string{}, []scaleCurve{}
	byName, medians := map[string]*summary{}, map[string]float64{}
	all := summarise(list, r.Samples, missing)
	for i := range all {
		s := &all[i]
		byName[s.Variant] = s
		if s.CPUPerPacket != nil {
			medians[s.Variant], medians[s.Variant+atPath] = s.CPUPerPacket.Median, s.PathCPUPerPacket.Median
		}
	}
	var usual []bench.Ratio
	for i := range curves {
		k := scaleCurve{Name: curves[i].name, Unit: curves[i].unit}
		for _, x := range curves[i].points {
			if s := byName[pointName(k.Name, x)]; s != nil {
				k.Points = append(k.Points, scalePoint{x, *s})
			}
		}
		if len(k.Points) == 0 {
			continue
		}
		r.Curves = append(r.Curves, k)
		if measured := k.measured(); len(measured) > 1 {
			usual = append(usual, bench.RatioOf(measured[len(measured)-1].Variant, measured[0].Variant))
		}
	}
	r.Memory = scaleMemory{Flow: r.grows("flows"), Queue: r.grows("queues"), Entry: r.grows("entries")}
	r.Model = newModel(byName[pointName("queues", 1)], r.mostQueues(), byName[newFlows])
	noteDisturbed(&r.Judgement, r.Samples)
	r.NoteOneCPU(r.Settings.LoadCPU, r.Settings.DaemonCPU, "the daemon")
	r.Ratios = bench.CompareMedians(medians, usual, required)
	r.Verdict = bench.JudgeRatios(r.Ratios, len(r.Samples), bench.FailedTurns(r.Samples, r.Interrupted), "No bounds were required.")
}

// measured are the points that have figures.
func (k *scaleCurve) measured() (list []*scalePoint) {
	for i := range k.Points {
		if k.Points[i].CPUPerPacket != nil {
			list = append(list, &k.Points[i])
		}
	}
	return list
}

// curve is one by its name; nil where it was not measured.
func (r *ScaleResult) curve(name string) *scaleCurve {
	for i := range r.Curves {
		if r.Curves[i].Name == name {
			return &r.Curves[i]
		}
	}
	return nil
}

// grows is by how many bytes memory grows from the first point of a curve to the last, by what there is more.
func (r *ScaleResult) grows(name string) *float64 {
	k := r.curve(name)
	if k == nil {
		return nil
	}
	points := k.measured()
	if len(points) < 2 {
		return nil
	}
	first, last := points[0], points[len(points)-1]
	each := (last.RSS.Median - first.RSS.Median) * kibPerMiB / float64(last.X-first.X)
	return &each
}

// mostQueues is the point with most queues; nil where there is none.
func (r *ScaleResult) mostQueues() *summary {
	k := r.curve("queues")
	if k == nil {
		return nil
	}
	if points := k.measured(); len(points) > 0 {
		return &points[len(points)-1].summary
	}
	return nil
}

// WriteText writes the curves for people, the model, and the verdict below them.
func (r *ScaleResult) WriteText(w io.Writer) error {
	var text strings.Builder
	s := &r.Settings
	fmt.Fprintln(&text, &r.Host)
	fmt.Fprintf(&text, "%d rounds of %d packets a point, %d of new flows; %d bytes of payload, at most %d under way; "+
		"verdictd with the guard (hold) and metrics, on CPU %d, the load on CPU %d.\n", s.Rounds, s.Packets, s.Fresh,
		s.Payload, s.Window, s.DaemonCPU, s.LoadCPU)
	for i := range r.Curves {
		k := &r.Curves[i]
		fmt.Fprintf(&text, "\n%s: %s\n", k.Name, k.Unit)
		t := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
		fmt.Fprintln(t, k.Name+"\tCPU us/packet\tquartiles\tpath us/packet\tpackets/s\tMiB\trounds")
		for j := range k.Points {
			p := &k.Points[j]
			if p.CPUPerPacket == nil {
				fmt.Fprintf(t, "%d\tnot measured: %s\n", p.X, p.NotMeasured)
				continue
			}
			fmt.Fprintf(t, "%d\t%.2f\t%.2f..%.2f\t%.2f\t%.0f\t%.1f\t%d\n", p.X, p.CPUPerPacket.Median, p.CPUPerPacket.Q1,
				p.CPUPerPacket.Q3, p.PathCPUPerPacket.Median, p.PacketsPerSecond.Median, p.RSS.Median/kibPerMiB, p.ValidRounds)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	fmt.Fprintln(&text)
	for _, grows := range []struct {
		what  string
		bytes *float64
	}{{"flow", r.Memory.Flow}, {"queue", r.Memory.Queue}, {"entry of a set", r.Memory.Entry}} {
		if grows.bytes != nil {
			fmt.Fprintf(&text, "Memory: %.0f bytes a %s.\n", *grows.bytes, grows.what)
		}
	}
	if err := r.Model.writeText(&text); err != nil {
		return err
	}
	fmt.Fprintln(&text)
	return r.Judgement.WriteText(w, &text)
}
