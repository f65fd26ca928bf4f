package attacks

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	nfqueue "github.com/florianl/go-nfqueue/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
)

// foreignVariable makes the test binary a program of somebody else that judges
// a queue, unaware of any gate. Its value is a foreignConfig.
const foreignVariable = "VERDICTD_TEST_FOREIGN"

// foreignConfig says how the foreign program judges.
type foreignConfig struct {
	Queue uint16
	// Delay is how long each packet waits for its verdict; others are taken
	// meanwhile. Verdicts keep the packets' order.
	Delay time.Duration
	// Think blocks the program before each verdict, as analysis does.
	Think time.Duration
	// Threads answer out of order, each after a random part of Jitter.
	Threads int
	Jitter  time.Duration
	// WantsSecond keeps each flow's first packet until the second has come, as
	// a program does that puts a QUIC ClientHello together, or for so long.
	WantsSecond time.Duration
	// GSO takes long packets whole. Without it the kernel cuts them before the queue, and drops all segments but the
	// first of a packet whose entry is not confirmed.
	GSO bool
	// DropNumbers are packet numbers of each flow (see [packet]) that it drops.
	DropNumbers []uint32
	foreignVerdicts
}

// foreignResult is what the program says when it ends.
type foreignResult struct {
	Received, Accepted, Dropped uint64
	// Overtaken counts verdicts on packets that came before one already judged.
	Overtaken uint64
	Errors    uint64
}

// A test binary that is to be the foreign program never gets to its tests.
func init() {
	text := os.Getenv(foreignVariable)
	if text == "" {
		return
	}
	if err := runForeign(text); err != nil {
		fmt.Fprintln(os.Stderr, "foreign program:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// judge is the foreign program at work.
type judge struct {
	cfg  foreignConfig
	nf   *nfqueue.Nfqueue
	todo chan queued

	mu       sync.Mutex
	highest  uint32
	result   foreignResult
	errors   atomic.Uint64
	waiting  map[foreignFlow]queued // first packets whose second has not come
	together int                    // packets that wait for a verdict for all of them
	judged   map[foreignFlow]bool
}

type queued struct {
	id, mark uint32
	due      time.Time
	drop     bool
	payload  []byte
}

type foreignFlow struct{ a, b netip.AddrPort }

func runForeign(text string) error {
	j := &judge{todo: make(chan queued, 1<<17), waiting: map[foreignFlow]queued{}, judged: map[foreignFlow]bool{}}
	if err := json.Unmarshal([]byte(text), &j.cfg); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	if err := j.open(ctx); err != nil {
		return err
	}
	for range max(1, j.cfg.Threads) {
		go j.answer()
	}
	fmt.Println("ready")
	<-ctx.Done()
	j.mu.Lock()
	j.result.Errors = j.errors.Load()
	err := json.NewEncoder(os.Stdout).Encode(j.result)
	j.mu.Unlock()
	return errors.Join(err, j.nf.Close())
}

func (j *judge) open(ctx context.Context) (err error) {
	var flags uint32
	if j.cfg.GSO {
		flags = nfqueue.NfQaCfgFlagGSO
	}
	j.nf, err = nfqueue.Open(&nfqueue.Config{
		Flags:   flags,
		NfQueue: j.cfg.Queue, MaxQueueLen: 65535, MaxPacketLen: 256, Copymode: nfqueue.NfQnlCopyPacket, AfFamily: unix.AF_UNSPEC,
	})
	if err != nil {
		return err
	}
	raw, err := j.nf.Con.SyscallConn()
	if err != nil {
		return err
	}
	if err := raw.Control(func(fd uintptr) { growBuffer(int(fd), 64<<20) }); err != nil {
		return err
	}
	if err := j.nf.SetOption(netlink.NoENOBUFS, true); err != nil {
		return err
	}
	return j.nf.RegisterWithErrorFunc(ctx, j.take, func(error) int {
		if ctx.Err() != nil {
			return 1
		}
		j.errors.Add(1)
		return 0
	})
}

// take receives one packet.
func (j *judge) take(a nfqueue.Attribute) int {
	if a.PacketID == nil {
		return 0
	}
	q := queued{id: *a.PacketID, due: time.Now().Add(j.cfg.Delay)}
	if a.Mark != nil {
		q.mark = *a.Mark
	}
	var flow foreignFlow
	if a.Payload != nil {
		q.payload = *a.Payload
		var sequence uint32
		flow, sequence = foreignParse(*a.Payload)
		for _, s := range j.cfg.DropNumbers {
			q.drop = q.drop || s == sequence
		}
	}
	j.mu.Lock()
	j.result.Received++
	j.mu.Unlock()
	if j.cfg.WantsSecond > 0 {
		j.takeSecond(flow, q)
		return 0
	}
	j.todo <- q
	return 0
}

// takeSecond keeps a flow's first packet until its second is there.
func (j *judge) takeSecond(flow foreignFlow, q queued) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first, waits := j.waiting[flow]
	switch {
	case j.judged[flow]:
		j.todo <- q
	case waits:
		delete(j.waiting, flow)
		j.judged[flow] = true
		j.todo <- first
		j.todo <- q
	default:
		j.waiting[flow] = q
		time.AfterFunc(j.cfg.WantsSecond, func() {
			j.mu.Lock()
			defer j.mu.Unlock()
			if w, still := j.waiting[flow]; still && w.id == q.id {
				delete(j.waiting, flow)
				j.judged[flow] = true
				j.todo <- q
			}
		})
	}
}

// answer gives verdicts.
func (j *judge) answer() {
	for q := range j.todo {
		time.Sleep(time.Until(q.due))
		if j.cfg.Think > 0 {
			for end := time.Now().Add(j.cfg.Think); time.Now().Before(end); {
			}
		}
		if j.cfg.Jitter > 0 {
			time.Sleep(rand.N(j.cfg.Jitter))
		}
		if err := j.verdict(q); err != nil {
			j.errors.Add(1)
		}
		j.mu.Lock()
		if q.drop {
			j.result.Dropped++
		} else {
			j.result.Accepted++
		}
		if int32(q.id-j.highest) < 0 {
			j.result.Overtaken++
		} else {
			j.highest = q.id
		}
		j.mu.Unlock()
	}
}

// foreignParse finds the flow and the sequence number of a packet of [burst].
func foreignParse(b []byte) (flow foreignFlow, sequence uint32) {
	var source, destination netip.Addr
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		source, destination = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		b = b[min(len(b), int(b[0]&15)*4):]
	case len(b) >= 40 && b[0]>>4 == 6:
		source, destination = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		b = b[40:]
	}
	const sequenceAt = 8 + 8 // behind the UDP header; see packet
	if len(b) < sequenceAt+4 {
		return flow, 0xffffffff
	}
	flow.a = netip.AddrPortFrom(source, binary.BigEndian.Uint16(b))
	flow.b = netip.AddrPortFrom(destination, binary.BigEndian.Uint16(b[2:]))
	return flow, binary.BigEndian.Uint32(b[sequenceAt:])
}

// foreign is the running program.
type foreign struct {
	*childtest.Child
	lines chan string // of its output
}

// startForeign starts the foreign program in a namespace, and returns when its queue is bound.
func startForeign(t testing.TB, ns *netlab.NetNS, cfg foreignConfig) *foreign {
	t.Helper()
	return startForeignAs(t, ns, cfg, nil)
}

// startForeignAs starts it with attributes of its process.
func startForeignAs(t testing.TB, ns *netlab.NetNS, cfg foreignConfig, as *syscall.SysProcAttr) *foreign {
	t.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable)
	cmd.Args[0], cmd.SysProcAttr = "foreign", as
	cmd.Env = append(os.Environ(), foreignVariable+"="+string(text))
	said, says := io.Pipe()
	cmd.Stdout = says
	f := &foreign{lines: make(chan string, 10)}
	go func() {
		for s := bufio.NewScanner(said); s.Scan(); {
			f.lines <- s.Text()
		}
	}()
	f.Child = childtest.Start(t, ns, cmd)
	t.Cleanup(func() { _ = says.Close() })
	if line := f.line(); line != "ready" {
		t.Fatalf("the foreign program said %q, and not that it is ready", line)
	}
	return f
}

// line is the next line of its output.
func (f *foreign) line() string {
	f.T.Helper()
	select {
	case line := <-f.lines:
		return line
	case <-f.Done:
		select {
		case line := <-f.lines:
			return line
		case <-time.After(time.Second): // what it said is still on its way
			f.T.Fatalf("the foreign program ended and said nothing: %v", f.Err)
		}
	case <-time.After(childtest.ReadyWithin):
		f.T.Fatalf("the foreign program said nothing for %v", childtest.ReadyWithin)
	}
	return ""
}

// end stops the program and returns what it counted.
func (f *foreign) end() (r foreignResult) {
	f.T.Helper()
	f.Signal(unix.SIGTERM)
	<-f.Done
	if f.Err != nil {
		f.T.Fatalf("the foreign program: %v", f.Err)
	}
	line := f.line()
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		f.T.Fatalf("the foreign program said %q: %v", line, err)
	}
	return r
}
