package dns

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Served is what the server was asked.
type Served struct {
	A        uint64 `json:"a"`
	AAAA     uint64 `json:"aaaa"`
	Repeated uint64 `json:"repeated"` // questions that had reached it before, among those
	Foreign  uint64 `json:"foreign"`  // questions that nobody in this run has
	// OneFlow is the names whose two questions came from one address and port: these are what clashes.
	OneFlow uint64 `json:"one_flow"`
}

// asked is what the server was asked about one name.
type asked struct {
	a, aaaa uint32
	last    time.Time // when a question about it came last
	from    string    // where the first one came from
}

// server answers the questions of a run, and remembers them.
type server struct {
	naming
	inner  dns.Server
	ended  chan error
	mu     sync.Mutex
	asked  []asked
	served Served
}

// startServer is called on a thread in the receiver's namespace.
func startServer(cfg *Config, n naming) (*server, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(cfg.server()))
	if err != nil {
		return nil, fmt.Errorf("serve DNS: %w", err)
	}
	// A burst of questions must not be lost at the server's own socket. The kernel grants what it is allowed to.
	const buffer = 4 << 20
	if err := conn.SetReadBuffer(buffer); err != nil {
		return nil, errors.Join(fmt.Errorf("serve DNS: %w", err), conn.Close())
	}
	s := &server{naming: n, asked: make([]asked, cfg.Resolutions), ended: make(chan error, 1)}
	started := make(chan struct{})
	s.inner = dns.Server{PacketConn: conn, Handler: s, NotifyStartedFunc: func() { close(started) }}
	go func() { s.ended <- s.inner.ActivateAndServe() }()
	select {
	case <-started:
		return s, nil
	case err := <-s.ended:
		return nil, errors.Join(fmt.Errorf("serve DNS: %w", err), conn.Close())
	}
}

// ServeDNS is called by the DNS library, on a goroutine for each question.
func (s *server) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	answer := new(dns.Msg).SetReply(question)
	answer.Authoritative = true
	if len(question.Question) != 1 {
		answer.Rcode = dns.RcodeFormatError
	} else {
		s.answer(answer, question.Question[0], w.RemoteAddr().String())
	}
	_ = w.WriteMsg(answer) // an answer that cannot be sent is one that is lost, which the client notices
}

func (s *server) answer(m *dns.Msg, q dns.Question, from string) {
	i, ok := s.index(q.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok || i >= len(s.asked) || q.Qclass != dns.ClassINET {
		s.served.Foreign++
		m.Rcode = dns.RcodeNameError
		return
	}
	head := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET}
	a, aaaa := addresses(i)
	record := &s.asked[i]
	count := func(before *uint32, other uint32, total *uint64) {
		*total++
		switch {
		case record.from == "":
			record.from = from
		case *before == 0 && other > 0 && record.from == from:
			s.served.OneFlow++
		}
		if *before > 0 {
			s.served.Repeated++
		}
		*before++
		record.last = time.Now()
	}
	switch q.Qtype {
	case dns.TypeA:
		count(&record.a, record.aaaa, &s.served.A)
		m.Answer = append(m.Answer, &dns.A{Hdr: head, A: a.AsSlice()})
	case dns.TypeAAAA:
		count(&record.aaaa, record.a, &s.served.AAAA)
		m.Answer = append(m.Answer, &dns.AAAA{Hdr: head, AAAA: aaaa.AsSlice()})
	default:
		s.served.Foreign++ // there is no such record: an empty answer
	}
}

// of is what was asked about a name so far.
func (s *server) of(i int) asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[i]
}

func (s *server) total() Served {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served
}

// stop returns when no question is being answered any more.
func (s *server) stop() error {
	err := s.inner.Shutdown()
	return errors.Join(err, <-s.ended)
}
