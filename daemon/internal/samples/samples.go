package samples

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"verdictd/daemon/internal/ring"
	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

const (
	// waiting is how many packets wait for the file at most: 2 MiB.
	waiting = 1024
	// interval is how often they are written.
	interval = 100 * time.Millisecond
	// pause is how long nothing is written after an error.
	pause = 10 * time.Second
)

// Config says where samples go.
type Config struct {
	// Directory has to be there.
	Directory string
	// Bytes is how long a file may become, and Files how many there are.
	Bytes int64
	Files int
	Log   *slog.Logger
}

// Counts are of a sampler's life.
type Counts struct {
	// Written are packets in files, Lost those left out, as the ring was full or the file
	// could not be written.
	Written, Lost uint64
}

// A sample is a packet on its way to the file.
type sample struct {
	at     time.Time
	rule   string
	action vocabulary.Action
	queue  uint16
	hook   uint8
	length uint32 // of the packet
	kept   int    // bytes of it in data
	data   [vocabulary.SampleBytes]byte
}

// Sampler writes samples.
type Sampler struct {
	config        Config
	ring          *ring.Ring[sample]
	written, lost atomic.Uint64

	stop  chan struct{}
	ended sync.WaitGroup

	// The writer's own.
	file   *file
	number int       // of the last file
	after  time.Time // nothing is written before
}

// Open begins to write samples.
//
// Errors: the folder cannot be read, or no file can be made there.
func Open(c Config) (*Sampler, error) {
	s := &Sampler{config: c, ring: ring.New[sample](waiting), stop: make(chan struct{})}
	number, err := lastNumber(c.Directory)
	if err == nil {
		s.number = number
		err = s.next()
	}
	if err != nil {
		return nil, fmt.Errorf("samples of packets in %s: %w", c.Directory, err)
	}
	s.ended.Go(s.serve)
	return s, nil
}

// Sample takes a packet, from any goroutine. It neither blocks nor allocates.
func (s *Sampler) Sample(rule string, action vocabulary.Action, p *nfq.Packet) {
	one := sample{
		at: time.Now(), rule: rule, action: action, queue: p.Queue, hook: p.Hook,
		length: uint32(p.Length()),
	}
	one.kept = copy(one.data[:], p.Payload)
	if !s.ring.Push(one) {
		s.lost.Add(1)
	}
}

// Counts may be called from any goroutine.
func (s *Sampler) Counts() Counts {
	return Counts{Written: s.written.Load(), Lost: s.lost.Load()}
}

// Close writes what waits. Nobody may call Sample any more.
func (s *Sampler) Close() error {
	close(s.stop)
	s.ended.Wait()
	if s.file == nil {
		return nil
	}
	return s.file.close()
}

// serve writes what comes.
func (s *Sampler) serve() {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for stopping := false; !stopping; {
		select {
		case <-ticker.C:
		case <-s.stop:
			stopping = true
		}
		s.drain()
	}
}

// drain writes all that waits.
func (s *Sampler) drain() {
	for {
		one, ok := s.ring.Pop()
		if !ok {
			break
		}
		s.write(&one)
	}
	if s.file != nil {
		s.failed(s.file.flush())
	}
}

// write puts a packet into the file, or into the next one where that is full.
func (s *Sampler) write(one *sample) {
	if s.file == nil && time.Now().Before(s.after) {
		s.lost.Add(1)
		return
	}
	if s.file == nil || s.file.bytes >= s.config.Bytes {
		if err := s.next(); err != nil {
			s.failed(err)
		}
	}
	if s.file == nil {
		s.lost.Add(1)
		return
	}
	s.failed(s.file.packet(one))
}

// done counts packets that are in a file, or could not be written.
func (s *Sampler) done(packets uint64, err error) {
	if err != nil {
		s.lost.Add(packets)
	} else {
		s.written.Add(packets)
	}
}

// failed notes what went wrong with the file, which is given up then.
func (s *Sampler) failed(err error) {
	if err == nil {
		return
	}
	s.config.Log.Warn("samples of packets cannot be written", "error", err, "again in", pause)
	s.after = time.Now().Add(pause)
	if s.file != nil {
		_ = s.file.close()
		s.file = nil
	}
}
