package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"verdictd/internal/cli"
	"verdictd/lab/internal/bench/events"
	"verdictd/lab/internal/bench/queue"
	"verdictd/lab/internal/bench/send"
	"verdictd/lab/internal/fakes"
)

// TestBench compares the shipped programs, briefly: what comes of it is no measure of their speed.
func TestBench(t *testing.T) {
	bin := shipped(t)
	reference := filepath.Join(bin, "nfq_reference")
	for _, program := range []string{"nfq_reference", "nfq_floor"} {
		if out, err := exec.Command("cc", "-Wall", "-Wextra", "-Werror", "-O2", "-o", filepath.Join(bin, program),
			"reference/"+program+".c", "-lnetfilter_queue", "-lnfnetlink").CombinedOutput(); err != nil {
			t.Logf("without the C programs: %v\n%s", err, out)
		}
	}
	_, noReference := os.Stat(reference)
	measured := []string{"floor", "mmsg", "mmsg+hold", "mmsg+hold+1000 rules", "gonfqueue", "gonfqueue, one CPU",
		"c+hold", "new:mmsg+hold", "burst:mmsg+hold", "answer:mmsg+hold"}

	path := filepath.Join(t.TempDir(), "b.json")
	var stdout, stderr bytes.Buffer
	// A bound that cannot hold is the way to see exit status 1 of a run in which all went well.
	args := []string{
		"bench", "--bin", bin, "--rounds", "1", "--packets", "5000", "--fresh", "2000", "--reference", reference,
		"--json", path, "--payload", "1400",
		"--require", "mmsg/gonfqueue<=1000,mmsg/mmsg+hold<=0.000001",
	}
	for _, name := range measured {
		args = append(args, "--only", name)
	}
	status := run(t.Context(), args, streams{&stdout, &stderr})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("exit status %d: %v\n%s%s", status, err, &stdout, &stderr)
	}
	var b queue.Result
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	if status != cli.Failed || b.Verdict.OK || len(b.Verdict.Failures) != 1 ||
		!strings.Contains(stdout.String(), "mmsg / mmsg+hold is ") {
		t.Errorf("exit status %d, %+v\n%s%s", status, b.Verdict, &stdout, &stderr)
	}
	if len(b.Variants) != len(queue.Names()) {
		t.Fatalf("%d variants in %s", len(b.Variants), text)
	}
	for i := range b.Variants {
		v := &b.Variants[i]
		if !slices.Contains(measured, v.Variant) {
			continue
		}
		ofC := strings.HasPrefix(v.Variant, "c") || v.Variant == "floor"
		if ofC && noReference != nil {
			if !strings.Contains(v.NotMeasured, bin) {
				t.Errorf("it does not say why there is no C program: %q", v.NotMeasured)
			}
			continue
		}
		if v.ValidRounds != 1 || !(v.CPUPerPacket.Median > 0) || !(v.PacketsPerSecond.Median > 0) ||
			v.PathCPUPerPacket.Median <= v.CPUPerPacket.Median {
			t.Errorf("%+v", v)
		}
		if receive := v.PacketsPerReceive; (receive == nil) != ofC || receive != nil && receive.Median < 1 {
			t.Errorf("%s: packets per receive %v", v.Variant, receive)
		}
		hold := strings.Contains(v.Variant, "+hold")
		if hold != (v.FirstUS != nil) || hold && !(v.FirstUS.Median > 0) {
			t.Errorf("%s: the gate had first packets for %+v", v.Variant, v.FirstUS)
		}
	}
}

// TestBenchCases: two queues, IPv6, long packets of which the headers are copied, many under way, and the way in.
func TestBenchCases(t *testing.T) {
	bin := shipped(t)
	args := []string{"bench", "--bin", bin, "--rounds", "1", "--packets", "3000", "--case", "queues,ipv6,headers,windows,input"}
	measured := []string{"2q:mmsg+hold+metrics", "ipv6:mmsg", "8000B headers:mmsg", "w32000:mmsg", "input:mmsg+hold+metrics"}
	for _, name := range measured {
		args = append(args, "--only", name)
	}
	var stdout, stderr bytes.Buffer
	page := filepath.Join(t.TempDir(), "b.html")
	status := run(t.Context(), append(args, "--json", "-", "--html", page), streams{&stdout, &stderr})
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(html.UnescapeString(string(text)), "2q:mmsg+hold+metrics</span>") {
		t.Errorf("the page: %v\n%s", err, text)
	}
	var b queue.Result
	if err := json.Unmarshal(stdout.Bytes(), &b); err != nil || status != 0 {
		t.Fatalf("exit status %d: %v\n%s%s", status, err, &stdout, &stderr)
	}
	for i := range b.Variants {
		v := &b.Variants[i]
		if slices.Contains(measured, v.Variant) && (v.ValidRounds != 1 || !(v.CPUPerPacket.Median > 0)) {
			t.Errorf("%+v", v)
		}
	}
}

// TestBenchUsage: what is asked for in a wrong way is refused before anything runs.
func TestBenchUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--only", "pcap"}, {"--rounds", "0"}, {"--packets", "10"}, {"--window", "0"}, {"--window", "70000"},
		{"--fresh", "1"}, {"--require", "mmsg/rust<=1"}, {"--case", "all"}, {"--copy", "70000"},
	} {
		refuses(t, args[0], append([]string{"bench"}, args...)...)
	}
}

// TestBenchLatency sends at a rate, and at a part of what the program can do: what does not arrive is counted, as a
// busy machine may let a queue fill. What comes of it is no measure of speed.
func TestBenchLatency(t *testing.T) {
	bin := shipped(t)
	path := filepath.Join(t.TempDir(), "b.json")
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"bench", "latency", "--bin", bin, "--rounds", "1", "--rate", "500",
		"--load", "0.1", "--queues", "2", "--duration", "400ms", "--only", "none", "--only", "mmsg+hold", "--json", path,
		"--require", "mmsg+hold@500:goodput/none@500:goodput>=0.0001"}, streams{&stdout, &stderr})
	text, err := os.ReadFile(path)
	if err != nil || status != 0 {
		t.Fatalf("exit status %d: %v\n%s%s", status, err, &stdout, &stderr)
	}
	var r queue.LatencyResult
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Points) != 3 { // no part of the capacity where there is no program
		t.Fatalf("%d points, want 3:\n%s", len(r.Points), text)
	}
	for i := range r.Points {
		p := &r.Points[i]
		if lost := p.QueueDropped + p.UserDropped + p.SocketDropped; p.Sent == 0 || p.Arrived+lost != p.Sent ||
			p.Arrived < p.Sent/2 || !(p.P50.Median > 0) || p.P50.Median > p.P99.Median ||
			p.P99.Median > p.P999.Median || p.P999.Median > p.Max.Median || !(p.Fairness > 0.5) || !(p.QueueFairness > 0) ||
			p.RSS == 0 != (p.Variant == "none") {
			t.Errorf("%s at %s: %+v", p.Variant, p.Name, p)
		}
	}
}

func TestBenchLatencyUsage(t *testing.T) {
	for _, args := range [][]string{{"--rate", "1"}, {"--load", "9"}, {"--duration", "1ms"}, {"--payload", "9000"}, {"--queues", "0"},
		{"--only", "pcap"}, {"--require", "mmsg@7:p99/c@7:p99<=1"}} {
		refuses(t, args[0], append([]string{"bench", "latency"}, args...)...)
	}
}

// TestBenchScale measures small points of each curve, and computes the model of them.
func TestBenchScale(t *testing.T) {
	bin := shipped(t)
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"bench", "scale", "--bin", bin, "--rounds", "1", "--packets", "1000", "--curve", "queues",
		"--most", "1",
		"--json", "-"}, streams{&stdout, &stderr})
	var r queue.ScaleResult
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || status != 0 {
		t.Fatalf("exit status %d: %v\n%s%s", status, err, &stdout, &stderr)
	}
	if len(r.Curves) != 1 || r.Model == nil || len(r.Model.Rows) != 6 || !(r.Model.PerQueue > 0) ||
		!(r.Curves[0].Points[0].RSS.Median > 0) {
		t.Errorf("%+v, %+v", r.Curves, r.Model)
	}
}

// TestBenchGate: a flood beside paced packets, of which none is taken for one of the flood.
func TestBenchGate(t *testing.T) {
	bin := shipped(t)
	t.Run("interrupted", func(t *testing.T) { benchInterrupted(t, bin) })
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"bench", "gate", "--bin", bin, "--rounds", "1", "--packets", "1000", "--fresh",
		"1000", "--flood", "1000", "--rate", "100", "--duration", "200ms", "--only", "new:mmsg+hold", "--only", "mmsg+hold", "--json", "-"}, streams{&stdout, &stderr})
	var r queue.GateResult
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || status != 0 {
		t.Fatalf("exit status %d: %v\n%s%s", status, err, &stdout, &stderr)
	}
	flooded := 0
	for i := range r.Points {
		p := &r.Points[i]
		if p.Arrived > p.Sent || p.Sent > 20 {
			t.Errorf("%+v", p)
		}
		if p.Flood > 0 {
			flooded++
		}
	}
	if len(r.Points) != 2 || flooded != 1 {
		t.Errorf("%d points, %d of them flooded:\n%s", len(r.Points), flooded, &stderr)
	}
}

// benchInterrupted: what was measured by then is written, and nothing is left.
func benchInterrupted(t *testing.T, bin string) {
	files := t.TempDir()
	document, page := filepath.Join(files, "g.json"), filepath.Join(files, "new", "g.html")
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout bytes.Buffer
	stderr := &cancelling{cancel: cancel}
	status := run(ctx, []string{"bench", "gate", "--bin", bin, "--rounds", "1000", "--packets", "1000", "--fresh", "1000", "--flood", "1000",
		"--only", "mmsg", "--json", document, "--html", page}, streams{&stdout, stderr})
	var r queue.GateResult
	text, err := os.ReadFile(document)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil || status != cli.Failed || !r.Interrupted || len(r.Samples) == 0 || r.Verdict.OK {
		t.Errorf("exit status %d, %v: %s", status, err, text)
	}
	if said := stderr.String(); !strings.HasSuffix(said, "lab: interrupted; what was measured by then is in "+document+" and "+page+"\n") {
		t.Errorf("said %q", said)
	}
	if info, err := os.Stat(page); err != nil || info.Size() == 0 {
		t.Errorf("the page: %v", err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left: %v (%v)", left, err)
	}
}

// cancelling is where remarks go, until the first one.
type cancelling struct {
	bytes.Buffer
	cancel context.CancelFunc
}

func (c *cancelling) Write(b []byte) (int, error) {
	c.cancel()
	return c.Buffer.Write(b)
}

// TestBenchNothing: that what was asked for could not be measured is no success.
func TestBenchNothing(t *testing.T) {
	bin, _ := fakes.Install(t)
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"bench", "gate", "--bin", bin, "--only", "floor", "--only", "c"}, streams{&stdout, &stderr})
	if status != cli.Failed || !strings.Contains(stdout.String(), "Failed: nothing was measured\n") {
		t.Errorf("exit status %d: %s%s", status, &stdout, &stderr)
	}
}

func TestBenchScaleAndGateUsage(t *testing.T) {
	for _, args := range [][]string{{"scale", "--curve", "pcap"}, {"scale", "--packets", "1"}, {"scale", "--most", "-1"},
		{"gate", "--flood", "1"}, {"gate", "--rate", "0"}, {"gate", "--duration", "1ms"}, {"gate", "--require", "a/b<=1"},
		{"gate", "--flood", "99999999"}, {"gate", "--html", "-"}, {"latency", "--html", "-"}} {
		refuses(t, args[1], append([]string{"bench"}, args...)...)
	}
}

// TestBenchEvents compares the listeners, briefly: what comes of it is no measure of their speed. The lab is one of the
// programs, as it has a listener in itself.
func TestBenchEvents(t *testing.T) {
	bin := shipped(t)
	buildPrograms(t, bin, "lab")
	path := filepath.Join(t.TempDir(), "b.json")
	var stdout, stderr bytes.Buffer
	lab := exec.Command(filepath.Join(bin, "lab"), "bench", "events", "--rounds", "1", "--flows", "2000",
		"--json", path,
		"--require", "events/timo<=1000,events/events+flows<=0.000001")
	lab.Stdout, lab.Stderr = &stdout, &stderr
	// A bound that cannot hold is the way to see exit status 1 of a run in which all went well.
	var exit *exec.ExitError
	if err := lab.Run(); !errors.As(err, &exit) || exit.ExitCode() != cli.Failed {
		t.Errorf("%v, want exit status %d\n%s%s", err, cli.Failed, &stdout, &stderr)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
	}
	var r events.Result
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	_, noConntrack := exec.LookPath("conntrack")
	for i := range r.Listeners {
		l := &r.Listeners[i]
		switch {
		case l.Listener == "conntrack" && (noConntrack != nil || l.ValidRounds == 0):
			// It has the system's default for a buffer, and loses what it likes on a busy machine.
			if l.NotMeasured == "" {
				t.Error("it does not say why conntrack was not measured")
			}
		case l.ValidRounds != 1 || !(l.CPUPerEvent.Median > 0) || !(l.FlowsPerSecond.Median > 0):
			t.Errorf("%+v\n%s", l, &stderr)
		}
	}
	if len(r.Listeners) != len(events.Names()) || !strings.Contains(stdout.String(), "events / events+flows is ") {
		t.Errorf("%d listeners in\n%s", len(r.Listeners), &stdout)
	}
}

func TestBenchEventsUsage(t *testing.T) {
	for _, args := range [][]string{{"--rounds", "0"}, {"--flows", "10"}, {"--rate", "1"}, {"--rate", "NaN"},
		{"--require", "events/mmsg<=1"}} {
		refuses(t, args[0], append([]string{"bench", "events"}, args...)...)
	}
}

// TestBenchSend compares the shipped stress, briefly: what comes of it is no measure of its speed.
func TestBenchSend(t *testing.T) {
	bin := shipped(t)
	reference := filepath.Join(bin, "send_reference")
	if out, err := exec.Command("cc", "-Wall", "-Wextra", "-Werror", "-O2", "-o", reference,
		"reference/send_reference.c").CombinedOutput(); err != nil {
		t.Logf("without the C program: %v\n%s", err, out)
	}
	path := filepath.Join(t.TempDir(), "b.json")
	var stdout, stderr bytes.Buffer
	// The time is the difference of two runs, so there are packets enough for it to be above that of starting.
	// A bound that cannot hold is the way to see exit status 1 of a run in which all went well.
	status := run(t.Context(), []string{
		"bench", "send", "--bin", bin, "--rounds", "1", "--packets", "400000", "--clashing", "512", "--reference",
		reference, "--json", path,
		"--require", "flood+gso/flood>=0.0001,flood/flood+gso>=1000000",
	}, streams{&stdout, &stderr})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("exit status %d: %v\n%s%s", status, err, &stdout, &stderr)
	}
	var r send.Result
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if status != cli.Failed || r.Verdict.OK || len(r.Verdict.Failures) != 1 ||
		!strings.Contains(stdout.String(), "less than 1e+06") {
		t.Errorf("exit status %d, %+v\n%s%s", status, r.Verdict, &stdout, &stderr)
	}
	for i := range r.Senders {
		s := &r.Senders[i]
		if _, err := exec.LookPath(map[string]string{"c": reference,
			"trafgen": "trafgen"}[s.Sender]); (s.Sender == "c" || s.Sender == "trafgen") && err != nil {
			if !strings.Contains(s.NotMeasured, s.Sender) && !strings.Contains(s.NotMeasured, reference) {
				t.Errorf("it does not say why there is no %s: %q", s.Sender, s.NotMeasured)
			}
			continue
		}
		clashes := strings.HasSuffix(s.Sender, "clash")
		switch {
		case s.ValidRounds != 1 || s.NotMeasured != "":
			t.Errorf("%+v", s)
		case clashes && (s.ClashesPerPacket == nil || s.Packets != 512):
			t.Errorf("%+v", s)
		case !clashes && (s.Packets < 399_000 || !(s.CPUPerPacket.Median > 0) || !(s.PacketsPerSecond.Median > 0)):
			t.Errorf("%+v", s)
		}
	}
}

func TestBenchSendUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--only", "pcap"}, {"--rounds", "0"}, {"--packets", "10"}, {"--clashing", "1"}, {"--require", "flood/rust>=1"},
		{"--require", "flood/udpclash>=1"}, {"--require", "flood/c>1"},
	} {
		refuses(t, args[0], append([]string{"bench", "send"}, args...)...)
	}
}
