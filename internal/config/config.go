package config

import (
	"fmt"
	"time"

	"github.com/goccy/go-yaml"

	"verdictd/internal/vocabulary"
)

// Config is the whole file. Default has the values of keys that are not written.
type Config struct {
	// Backend receives packets and sends verdicts.
	Backend vocabulary.Backend `yaml:"backend"`
	// OnFailure is what becomes of packets where no daemon judges them; Failure has the pieces.
	OnFailure  vocabulary.OnFailure `yaml:"on_failure"`
	Failure    Failure              `yaml:"failure"`
	Queues     Queues               `yaml:"queues"`
	Guard      Guard                `yaml:"guard"`
	Rules      Rules                `yaml:"rules"`
	Policy     Policy               `yaml:"policy"`
	Analysis   Analysis             `yaml:"analysis"`
	Statistics Statistics           `yaml:"statistics"`
	Metrics    Metrics              `yaml:"metrics"`
	Log        Log                  `yaml:"log"`
	Privileges Privileges           `yaml:"privileges"`
	Control    Control              `yaml:"control"`
}

// Failure is what happens while the daemon is away.
type Failure struct {
	// LongestWait bounds how long packets wait for a daemon that is restarted; 0: they wait for ever.
	LongestWait time.Duration `yaml:"longest_wait"`
}

// Bypass reports whether the rules let packets pass while nobody listens.
func (c *Config) Bypass() bool { return c.Rules.Bypass.Is(c.OnFailure == vocabulary.FailAccept) }

// Queues are consecutive NFQUEUEs; each has a thread of its own.
type Queues struct {
	First uint16 `yaml:"first"`
	Count int    `yaml:"count"`
	// MaxLength is the number of packets that may wait for a verdict; 0 is the
	// kernel's default (1,024).
	MaxLength uint32 `yaml:"max_length"`
	// CopyRange is how much of a packet is copied to the daemon.
	CopyRange CopyRange `yaml:"copy_range"`
	// FailOpen accepts packets that find the queue full.
	FailOpen bool `yaml:"fail_open"`
	// GSO takes packets before segmentation and checksums (NFQA_CFG_F_GSO).
	GSO bool `yaml:"gso"`
	// Conntrack asks for each packet's conntrack entry.
	Conntrack bool `yaml:"conntrack"`
	// UIDGID asks for the owner of the sending socket.
	UIDGID bool `yaml:"uid_gid"`
	// ReceiveBuffer is each netlink socket's, in bytes; 0 is the system's default.
	ReceiveBuffer int `yaml:"receive_buffer"`
	// ReceiveBufferMax is what it grows to where it was full. It does not grow where this
	// is no more than it begins with.
	ReceiveBufferMax int `yaml:"receive_buffer_max"`
	// Batch is the number of packets that one receive call takes at most.
	Batch int `yaml:"batch"`
	// Pin lists CPUs: the thread of the i-th queue is bound to Pin[i % len(Pin)].
	Pin []int `yaml:"pin"`
}

// Guard keeps unconfirmed conntrack entries of one flow from clashing: a gate before
// conntrack lets the first packet of a flow go on and holds further ones.
type Guard struct {
	Mode vocabulary.GuardMode `yaml:"mode"`
	// FirstQueue is the gate's lowest queue number. It takes two for each of Queues,
	// and as many again for each conntrack zone.
	FirstQueue uint16 `yaml:"first_queue"`
	// Queues is the number of the gate's threads; 0: one, or one for each queue where
	// rules fill queues by the CPU that a packet is on, at most one a CPU.
	Queues int `yaml:"queues"`
	// Hold is the longest wait of held packets while no queue has packets that the
	// gate has let go, HoldLimit in all. Above 2 s, Hold says that programs may take
	// long over a packet, and none is tried for wanting a second one first.
	Hold      time.Duration `yaml:"hold"`
	HoldLimit time.Duration `yaml:"hold_limit"`
	// Flows bounds the flows remembered, FlowPackets the held packets of one and Bytes
	// those of all, by their lengths. What is beyond goes on unguarded.
	Flows       int `yaml:"flows"`
	FlowPackets int `yaml:"flow_packets"`
	Bytes       int `yaml:"bytes"`
	// Settled has confirmed flows pass in the kernel, by sets of SettledSize elements
	// that last SettledTimeout after a flow's last packet; 0 follows conntrack's
	// timeouts.
	Settled        bool          `yaml:"settled"`
	SettledTimeout time.Duration `yaml:"settled_timeout"`
	SettledSize    uint32        `yaml:"settled_size"`
	// ExemptPorts are those whose packets never enter the gate, at either end.
	ExemptPorts []uint16 `yaml:"exempt_ports"`
}

// goneKeys are keys that were, and what to do with them.
var goneKeys = map[string]string{
	"guard.dnat":         "is gone: held packets are the originals, so that DNAT needs no setting; delete the line",
	"guard.grace":        "is gone: a flow is settled when conntrack has its entry, not after a time; delete the line, and see guard.hold for the longest wait",
	"guard.idle":         "is gone: settled flows pass in the kernel; delete the line, and see guard.settled_timeout",
	"guard.mark":         "is gone: held packets are the originals and carry no mark; delete the line, and rules that let the mark pass",
	"guard.entry_queues": "is gone: the gate asks conntrack itself; delete the line, and rules for the queues from 16384 on. The gate's own are guard.first_queue and above",
}

// goneValues are values that keys had, and what took their place.
var goneValues = map[string]map[string]string{
	"guard.mode": {
		"reinject": "further packets are no longer sent once more but held until their flow's first is confirmed: write hold",
	},
}

// Rules are the kernel rules that feed the queues.
type Rules struct {
	// Install makes the daemon install them at its start and remove them at
	// its end. Without it Placement says where the operator's own rules are.
	Install   bool                 `yaml:"install"`
	Table     string               `yaml:"table"`
	Placement vocabulary.Placement `yaml:"placement"`
	Fanout    vocabulary.Fanout    `yaml:"fanout"`
	// Manage is what is done where somebody else changes or removes the daemon's rules,
	// those of its gate included.
	Manage vocabulary.Manage `yaml:"manage"`
	// Bypass accepts packets while no daemon listens; auto: as Config.OnFailure says.
	Bypass    vocabulary.Toggle     `yaml:"bypass"`
	Families  []vocabulary.Family   `yaml:"families"`
	Protocols []vocabulary.Protocol `yaml:"protocols"`
	// A packet is queued if it matches either list; two empty ones queue all.
	DestinationPorts []uint16 `yaml:"destination_ports"`
	SourcePorts      []uint16 `yaml:"source_ports"`
	// MarkMask has the bits of packets' marks by which the rules are told what a verdict
	// cannot say (reject, flow, repeat); they are taken off before anybody else sees them.
	// ConnMarkMask has those of connection tracking's marks in which verdicts on flows are kept.
	MarkMask     vocabulary.Marks `yaml:"mark_mask"`
	ConnMarkMask vocabulary.Marks `yaml:"connmark_mask"`
}

// Analysis delays verdicts, as a program does that looks into packets.
type Analysis struct {
	Distribution vocabulary.Distribution `yaml:"distribution"`
	// Delay is what fixed waits, uniform's mean and lognormal's median.
	Delay time.Duration `yaml:"delay"`
	// Sigma is lognormal's, of the logarithm.
	Sigma float64 `yaml:"sigma"`
	// Max cuts the drawn delay; 0 does not.
	Max time.Duration  `yaml:"max"`
	Per vocabulary.Per `yaml:"per"`
}

// Statistics are written when the daemon stops.
type Statistics struct {
	// File is where to; "-" is standard output, "" nowhere.
	File string `yaml:"file"`
}

// Metrics are served to Prometheus.
type Metrics struct {
	// Listen is the TCP address, such as 127.0.0.1:9470; "" serves none.
	Listen string `yaml:"listen"`
	// WebConfig is a file with TLS and passwords, as Prometheus' exporter-toolkit has
	// it; "": neither.
	WebConfig string `yaml:"web_config"`
}

// Log is what the daemon says while it runs, on standard error.
type Log struct {
	Format vocabulary.LogFormat `yaml:"format"`
	Level  vocabulary.LogLevel  `yaml:"level"`
	// Drops is how many packets a second that the policy drops are logged at most.
	Drops int `yaml:"drops"`
}

// Privileges are what the daemon gives up when it has started.
type Privileges struct {
	// User is a name or number to go on as, with CAP_NET_ADMIN; "" changes nothing.
	User string `yaml:"user"`
	// Drop gives up all capabilities but CAP_NET_ADMIN, for good.
	Drop bool `yaml:"drop"`
	// Seccomp and Landlock leave the system calls and the files that the daemon uses.
	Seccomp  bool `yaml:"seccomp"`
	Landlock bool `yaml:"landlock"`
	// Paths are further files and folders, which a later configuration may name.
	Paths []string `yaml:"paths"`
}

// Control is the socket by which a running daemon is asked and told.
type Control struct {
	// Socket is its path; "" is none.
	Socket string `yaml:"socket"`
}

// Where the daemon and its clients look for each other where nothing else is said. The
// guard alone has a socket of its own, as it may run beside the daemon.
const (
	DefaultFile        = "/etc/verdictd/verdictd.yaml"
	DefaultGuardFile   = "/etc/verdictd/guard.yaml"
	DefaultSocket      = "/run/verdictd/control.sock"
	DefaultGuardSocket = "/run/verdictd-guard/control.sock"
)

// Default is an empty file's configuration.
func Default() *Config {
	return &Config{
		Backend:   vocabulary.BackendMmsg,
		OnFailure: vocabulary.FailAccept,
		Failure:   Failure{LongestWait: 10 * time.Second},
		Queues:    Queues{Count: 1, CopyRange: CopyAuto, ReceiveBuffer: 8 << 20, ReceiveBufferMax: 64 << 20, Batch: 64},
		Guard: Guard{
			Mode: vocabulary.GuardAuto, FirstQueue: 61440, Hold: time.Second, HoldLimit: 30 * time.Second,
			Flows: 1 << 16, FlowPackets: 256, Bytes: 64 << 20,
			Settled: true, SettledSize: 1 << 16,
		},
		Rules: Rules{
			Install: true, Table: "verdictd", Placement: vocabulary.PlacementOutput, Fanout: vocabulary.FanoutBalance, Bypass: vocabulary.Auto, Manage: vocabulary.ManageEnforce,
			Families: []vocabulary.Family{vocabulary.IPv4, vocabulary.IPv6}, Protocols: []vocabulary.Protocol{17},
			MarkMask: vocabulary.DefaultMarks, ConnMarkMask: vocabulary.DefaultMarks,
		},
		Policy: Policy{
			Undecodable: vocabulary.Drop, RegexpBytes: 1024,
			Names: NameSearch{
				DNSPorts: []uint16{53}, Flows: 1 << 16, Buffers: 1024, Bytes: 16 << 10, Packets: 16, Time: 3 * time.Second, QUICKeys: 20_000,
			},
			Samples: Samples{Bytes: 64 << 20, Files: 8},
		},
		Analysis:   Analysis{Distribution: vocabulary.DistributionNone, Sigma: 1, Per: vocabulary.PerPacket},
		Log:        Log{Format: vocabulary.FormatText, Level: vocabulary.LevelInfo},
		Privileges: Privileges{Drop: true, Seccomp: true, Landlock: true},
		Control:    Control{Socket: DefaultSocket},
	}
}

// YAML is one file that says the same, with all keys: what was included is in it.
func (c *Config) YAML() ([]byte, error) {
	whole := *c
	whole.Policy.Include = nil
	text, err := yaml.Marshal(&whole)
	if err != nil {
		return nil, fmt.Errorf("write the configuration as YAML: %w", err)
	}
	return text, nil
}
