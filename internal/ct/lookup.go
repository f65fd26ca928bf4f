package ct

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/packet"
)

// Attributes of a tuple (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
const (
	msgNew = 0 // IPCTNL_MSG_CT_NEW
	msgGet = 1 // IPCTNL_MSG_CT_GET

	ctaTupleOrig  = 1
	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum        = 1
	ctaProtoSrcPort    = 2
	ctaProtoDstPort    = 3
	ctaProtoICMPID     = 4
	ctaProtoICMPType   = 5
	ctaProtoICMPCode   = 6
	ctaProtoICMPv6ID   = 7
	ctaProtoICMPv6Type = 8
	ctaProtoICMPv6Code = 9
)

// MaxQuestions is how many Ask takes at once.
const MaxQuestions = 64

const (
	// answerHead has room for what is looked at of an answer: the headers and an error.
	answerHead = 64
	// answerMemory is what the kernel accounts for an answer that waits, and more: it
	// trims them to some 300 bytes of data and as much of its own.
	answerMemory = 4096
)

// ErrNoAnswer is a Question's error where the kernel's answer was lost.
var ErrNoAnswer = errors.New("conntrack's answer was lost, as there was no memory or no room for it")

// Question is one look-up, and its answer.
type Question struct {
	// Key is the flow's as one of its packets shows it, in either direction.
	Key packet.Key
	// Zone is the packet's zone. In a zone of one direction only
	// (`ct original zone set`) packets of the other one are in zone 0.
	Zone uint16
	// Known: there is an entry. Only confirmed ones can be found.
	Known bool
	// Err: nobody knows. The kernel refuses what no flow can begin with, such as the
	// key of an ICMP error.
	Err error
}

// Lookup asks conntrack for single entries. Unlike Conn it allocates nothing, as
// it is asked for packets. It belongs to one goroutine.
type Lookup struct {
	socket *nfnl.Socket
	recv   *nfnl.Receiver
	enc    nfnl.Encoder
	seq    uint32 // of the next question
	zone   [2]byte
	once   int // how many answers the receive buffer holds for certain
}

// NewLookup opens a socket in the network namespace of the calling thread. It
// fails where the kernel has no nf_conntrack_netlink.
func NewLookup() (*Lookup, error) {
	const op = "look up entries"
	socket, err := nfnl.Dial(nfnl.Config{ReceiveBuffer: MaxQuestions * answerMemory / 2})
	if err != nil {
		return nil, explain(op, err)
	}
	l := &Lookup{
		socket: socket,
		recv:   nfnl.NewReceiver(MaxQuestions, answerHead),
		once:   min(max(2*socket.ReceiveBuffer()/answerMemory, 1), MaxQuestions),
	}
	probe := [1]Question{{Key: packet.Key{0: 4, 1: unix.IPPROTO_UDP}}}
	if err := errors.Join(l.ask(probe[:]), probe[0].Err); err != nil {
		return nil, errors.Join(explain(op, err), socket.Close())
	}
	return l, nil
}

// Ask answers up to MaxQuestions questions, some 5 us each. Where it fails as a whole
// no question is answered.
func (l *Lookup) Ask(q []Question) error {
	if len(q) > MaxQuestions {
		return fmt.Errorf("conntrack: %d questions at once: at most %d", len(q), MaxQuestions)
	}
	for len(q) > 0 {
		n := min(len(q), l.once)
		if err := l.ask(q[:n]); err != nil {
			return fmt.Errorf("conntrack: look up entries: %w", err)
		}
		q = q[n:]
	}
	return nil
}

func (l *Lookup) ask(q []Question) error {
	l.enc.Reset()
	first := l.seq
	for i := range q {
		q[i].Known, q[i].Err = false, ErrNoAnswer
		l.question(&q[i])
	}
	if err := l.socket.Send(l.enc.Bytes()); err != nil {
		return err
	}
	// The kernel has answered within Send, each question by a datagram of its own. What
	// is not there now was lost.
	for open := len(q); open > 0; {
		n, err := l.recv.Receive(l.socket, false)
		switch {
		case errors.Is(err, nfnl.ErrWouldBlock):
			return nil
		case errors.Is(err, unix.ENOBUFS): // an answer was lost: the others are there
		case err != nil:
			return err
		}
		for i := range n {
			b, _ := l.recv.Datagram(i)
			m, ok := nfnl.Head(b)
			// One that answers an earlier question, which failed, counts for none of these.
			if at := m.Seq - first; ok && at < uint32(len(q)) && q[at].answer(m) {
				open--
			}
		}
	}
	return nil
}

// question lays out a request for one entry.
func (l *Lookup) question(q *Question) {
	family := uint8(unix.AF_INET)
	if q.Key[0] == 6 {
		family = unix.AF_INET6
	}
	l.enc.Begin(nfnl.Type(unix.NFNL_SUBSYS_CTNETLINK, msgGet), family, 0)
	l.enc.Seq(l.seq)
	l.seq++
	tuple := l.enc.BeginNested(ctaTupleOrig)
	l.addresses(&q.Key)
	l.protocol(&q.Key)
	l.enc.EndNested(tuple)
	if q.Zone != 0 {
		l.zone = [2]byte{byte(q.Zone >> 8), byte(q.Zone)}
		l.enc.Raw(ctaZone, l.zone[:])
	}
	l.enc.End()
}

// answer takes the kernel's answer, and reports whether it was one. An entry comes as
// a message that is said to be one of several (NLM_F_MULTI) though it is the only one.
func (q *Question) answer(m nfnl.Message) bool {
	if q.Known || !errors.Is(q.Err, ErrNoAnswer) {
		return false // answered already
	}
	errno, refused := m.Ack()
	switch {
	case m.Type == nfnl.Type(unix.NFNL_SUBSYS_CTNETLINK, msgNew):
		q.Known, q.Err = true, nil
	case refused && errno == unix.ENOENT:
		q.Err = nil
	case refused && errno != 0:
		q.Err = errno
	default:
		return false
	}
	return true
}

func (l *Lookup) addresses(k *packet.Key) {
	nest := l.enc.BeginNested(ctaTupleIP)
	if k[0] == 6 {
		l.enc.Raw(ctaIPv6Src, k[4:20])
		l.enc.Raw(ctaIPv6Dst, k[20:36])
	} else {
		l.enc.Raw(ctaIPv4Src, k[4:8])
		l.enc.Raw(ctaIPv4Dst, k[20:24])
	}
	l.enc.EndNested(nest)
}

// protocol adds what the key's last four bytes mean for its protocol.
func (l *Lookup) protocol(k *packet.Key) {
	nest := l.enc.BeginNested(ctaTupleProto)
	l.enc.Raw(ctaProtoNum, k[1:2])
	switch k[1] {
	case unix.IPPROTO_ICMP:
		l.enc.Raw(ctaProtoICMPID, k[36:38])
		l.enc.Raw(ctaProtoICMPType, k[38:39])
		l.enc.Raw(ctaProtoICMPCode, k[39:40])
	case unix.IPPROTO_ICMPV6:
		l.enc.Raw(ctaProtoICMPv6ID, k[36:38])
		l.enc.Raw(ctaProtoICMPv6Type, k[38:39])
		l.enc.Raw(ctaProtoICMPv6Code, k[39:40])
	default: // ignored by the tracker of protocols without ports
		l.enc.Raw(ctaProtoSrcPort, k[36:38])
		l.enc.Raw(ctaProtoDstPort, k[38:40])
	}
	l.enc.EndNested(nest)
}

// Close frees the socket.
func (l *Lookup) Close() error { return l.socket.Close() }
