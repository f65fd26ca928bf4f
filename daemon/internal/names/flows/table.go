package flows

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"reflect"
	"slices"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/hello"
	"verdictd/daemon/internal/names/quic"
	"verdictd/daemon/internal/reassembly"
	"verdictd/internal/packet"
)

const (
	none = reassembly.None
	// maxALPN is how much of the list of protocols is remembered.
	maxALPN = 64
)

// Protocol is where a name was found.
type Protocol uint8

// The protocols.
const (
	Unknown Protocol = iota
	DNS
	TLS
	QUIC
	HTTP
)

func (p Protocol) String() string {
	switch p {
	case DNS:
		return "dns"
	case TLS:
		return "tls"
	case QUIC:
		return "quic"
	case HTTP:
		return "http"
	}
	return "unknown"
}

// Config are the bounds of a Table.
type Config struct {
	// Flows is how many flows are remembered, each with some 450 bytes; at most 1<<22.
	// The one that was quiet for longest is forgotten for a new one.
	Flows int
	// Pending is for flows whose name is not known yet.
	Pending reassembly.Config
	// QUICKeys is how many sets of keys are made in a second; see package quic.
	QUICKeys int
	// DNSPorts are the ports of DNS, few of them.
	DNSPorts []uint16
}

// Counters only grow.
type Counters struct {
	Evicted   uint64 // flows forgotten for new ones
	Midstream uint64 // packets of TCP flows whose beginning was not seen
	Pending   reassembly.Counters
	QUIC      quic.Counters
}

// flow is what is remembered.
type flow struct {
	key              packet.Key // in one order for both directions
	chain            int32      // next of the same hash
	state            names.State
	protocol         Protocol
	forward          bool // the client is the key's first end
	done             bool // nothing changes state any more, but a new connection
	buffer           int32
	first, start     uint32  // of TCP: what the stream began with, and what is read next
	early            uint32  // bytes that the SYN has (RFC 7413), which its server may confirm
	id               quic.ID // of what was found
	alpnLen, nameLen uint8
	alpn             [maxALPN]byte
	name             [names.MaxHost]byte
}

// Table finds names.
type Table struct {
	cfg     Config
	flows   []flow
	buckets []int32
	seed    maphash.Seed
	ages    *reassembly.Ages // by the last packet

	pool     *reassembly.Pool
	conns    []quic.Conn // by buffer
	probe    quic.Conn
	quic     *quic.Decoder
	hello    *hello.Decoder
	dnsPorts []uint16
	most     int // bytes that are put together

	now    int64
	client bool // see FromClient
	ready  bool // result is to be returned by Next
	result Result
	stream stream
	text   []byte

	evicted, midstream uint64
}

// New makes a table; all its memory at once.
func New(cfg Config) (*Table, error) {
	pool, err := reassembly.New(cfg.Pending)
	if cfg.Flows < 1 || cfg.Flows > 1<<22 {
		err = errors.Join(fmt.Errorf("flows: %d flows: has to be 1 to %d", cfg.Flows, 1<<22), err)
	}
	if err != nil {
		return nil, err
	}
	buckets := 1
	for buckets < cfg.Flows {
		buckets *= 2
	}
	t := &Table{
		cfg:   cfg,
		flows: make([]flow, cfg.Flows), buckets: make([]int32, buckets), seed: maphash.MakeSeed(),
		ages: reassembly.NewAges(cfg.Flows),
		pool: pool, conns: make([]quic.Conn, cfg.Pending.Flows), quic: quic.NewDecoder(cfg.QUICKeys), hello: hello.NewDecoder(cfg.Pending.Bytes),
		dnsPorts: cfg.DNSPorts, most: cfg.Pending.Bytes, stream: stream{flow: none}, text: make([]byte, 0, names.MaxText),
	}
	for i := range t.buckets {
		t.buckets[i] = none
	}
	return t, nil
}

// Has reports whether the table has these bounds.
func (t *Table) Has(cfg *Config) bool {
	a, b := t.cfg, *cfg
	a.DNSPorts, b.DNSPorts = nil, nil
	return slices.Equal(t.cfg.DNSPorts, cfg.DNSPorts) && reflect.DeepEqual(a, b)
}

// Longest is how many bytes are put together at most.
func (t *Table) Longest() int { return t.most }

// Counters are those of now.
func (t *Table) Counters() Counters {
	return Counters{Evicted: t.evicted, Midstream: t.midstream, Pending: t.pool.Counters, QUIC: t.quic.Counters}
}

// keyOf is the same for both directions. forward tells that the packet goes from its
// first end to its second.
func keyOf(v *packet.View) (k packet.Key, forward bool) {
	v.Key(&k)
	source, destination := k[4:20], k[20:36]
	order := bytes.Compare(source, destination)
	if order == 0 {
		order = bytes.Compare(k[36:38], k[38:40])
	}
	if order <= 0 {
		return k, true
	}
	swapped := k
	copy(swapped[4:], destination)
	copy(swapped[20:], source)
	copy(swapped[36:], k[38:40])
	copy(swapped[38:], k[36:38])
	return swapped, false
}

func (t *Table) bucket(k *packet.Key) *int32 {
	return &t.buckets[maphash.Bytes(t.seed, k[:])&uint64(len(t.buckets)-1)]
}

// find also makes the flow the newest.
func (t *Table) find(k *packet.Key) int32 {
	for i := *t.bucket(k); i != none; i = t.flows[i].chain {
		if t.flows[i].key == *k {
			t.ages.Renew(i)
			return i
		}
	}
	return none
}

// remember makes a flow, whose client is at the end that forward says.
func (t *Table) remember(k *packet.Key, forward bool) int32 {
	i, b := t.ages.Take(), t.bucket(k)
	if i == none {
		t.evicted++
		t.forget(t.ages.Oldest())
		i = t.ages.Take()
	}
	f := &t.flows[i]
	f.key, f.chain = *k, *b
	*b = i
	f.buffer = none
	t.restart(i, forward)
	return i
}

// restart begins a flow again.
func (t *Table) restart(i int32, forward bool) {
	t.closeBuffer(i)
	f := &t.flows[i]
	f.state, f.protocol, f.done, f.forward, f.id, f.nameLen, f.alpnLen = names.More, Unknown, false, forward, quic.ID{}, 0, 0
}

func (t *Table) forget(i int32) {
	t.closeBuffer(i)
	f := &t.flows[i]
	for at := t.bucket(&f.key); ; at = &t.flows[*at].chain {
		if *at == i {
			*at = f.chain
			break
		}
	}
	t.ages.Give(i)
}

// openBuffer gives a buffer to a flow, and takes it from another where all are taken.
func (t *Table) openBuffer(i int32) {
	buffer, evicted := t.pool.Open(i, t.now)
	if evicted != none {
		t.lost(evicted)
	}
	t.flows[i].buffer = buffer
	t.conns[buffer] = quic.Conn{}
}

func (t *Table) closeBuffer(i int32) {
	if b := t.flows[i].buffer; b != none {
		t.pool.Close(b)
		t.conns[b] = quic.Conn{} // the garbage collector gets the keys
		t.flows[i].buffer = none
	}
}

// lost is for a flow whose buffer was taken away.
func (t *Table) lost(i int32) {
	t.conns[t.flows[i].buffer] = quic.Conn{}
	t.flows[i].buffer = none
	t.settle(i, names.TooLong, nil, nil)
}

// settle is the end of the search.
func (t *Table) settle(i int32, s names.State, name, alpn []byte) {
	t.closeBuffer(i)
	f := &t.flows[i]
	f.done = true
	t.keep(f, s, name, alpn)
}

// keep remembers a result. A name with so many escapes that it is longer than any host's
// is not kept.
func (t *Table) keep(f *flow, s names.State, name, alpn []byte) {
	if len(name) > len(f.name) {
		s, name = names.TooLong, nil
	}
	for len(alpn) > maxALPN { // whole protocols only
		last := 0
		for at := 0; at < min(len(alpn), maxALPN+1); at += 1 + int(alpn[at]) {
			last = at
		}
		alpn = alpn[:last]
	}
	f.state = s
	f.nameLen, f.alpnLen = uint8(copy(f.name[:], name)), uint8(copy(f.alpn[:], alpn))
}
