package modules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Part is a part of the kernel that answers on netlink, and may be a module that
// the kernel loads for the first who asks: for a protocol when a socket of it is
// opened, for a subsystem of nfnetlink when a request for it comes in.
type Part struct {
	// Name is what people call it: queue, xfrm, or a protocol's number.
	Name string
	// Protocol is that of the socket.
	Protocol int
	// subsystem is that of nfnetlink, asked with a request that changes nothing and
	// that it never answers with EINVAL, which is nfnetlink's own word for a subsystem
	// that is not there.
	subsystem, request uint8
}

// The subsystems of nfnetlink, see include/uapi/linux/netfilter/nfnetlink.h.
var (
	PartQueue     = Part{"queue", unix.NETLINK_NETFILTER, 3, 2}     // NFQNL_MSG_CONFIG of queue 0 without a command
	PartConntrack = Part{"ctnetlink", unix.NETLINK_NETFILTER, 1, 4} // IPCTNL_MSG_CT_GET_STATS_CPU, not as a dump
	PartTables    = Part{"nftables", unix.NETLINK_NETFILTER, 10, 16}
	PartLog       = Part{"log", unix.NETLINK_NETFILTER, 4, 1} // NFULNL_MSG_CONFIG of group 0 without a command
)

// Subsystems are the parts that can be named as one of nfnetlink's.
var Subsystems = []Part{PartQueue, PartConntrack, PartLog, PartTables}

// protocols are netlink's protocols that a module may be behind, see
// include/uapi/linux/netlink.h.
var protocols = map[string]int{
	"sock_diag": unix.NETLINK_SOCK_DIAG, "xfrm": unix.NETLINK_XFRM, "iscsi": unix.NETLINK_ISCSI, "connector": unix.NETLINK_CONNECTOR,
	"netfilter": unix.NETLINK_NETFILTER, "scsitransport": unix.NETLINK_SCSITRANSPORT, "rdma": unix.NETLINK_RDMA, "crypto": unix.NETLINK_CRYPTO,
	"smc": 22, // NETLINK_SMC, which package unix lacks
}

// ProtocolPart is the part behind a protocol of netlink, by its name or number.
func ProtocolPart(name string) (Part, error) {
	n, ok := protocols[strings.ToLower(name)]
	if !ok {
		var err error
		// The kernel has no more: MAX_LINKS.
		if n, err = strconv.Atoi(name); err != nil || n < 0 || n > 31 {
			return Part{}, fmt.Errorf("netlink has no protocol %q: give a number from 0 to 31, or xfrm, crypto, netfilter and the like", name)
		}
	}
	return Part{Name: strings.ToLower(name), Protocol: n}, nil
}

// SubsystemPart is the part behind a subsystem of nfnetlink.
func SubsystemPart(name string) (Part, error) {
	var names []string
	for _, p := range Subsystems {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Part{}, fmt.Errorf("nfnetlink's subsystem %q is not known: give one of %s", name, strings.Join(names, ", "))
}

// Alias is what the kernel asks modprobe for.
func (p Part) Alias() string {
	if p.request != 0 {
		return fmt.Sprintf("nfnetlink-subsys-%d", p.subsystem)
	}
	return fmt.Sprintf("net-pf-%d-proto-%d", unix.AF_NETLINK, p.Protocol)
}

// ErrNotThere is the error of [Part.Ask] and [Load] where the kernel lacks the part, or has not got
// it yet.
var ErrNotThere = errors.New("that part of the kernel is not there")

// answerTimeout bounds the wait for an answer that the kernel has given when sendto returns.
const answerTimeout = 5 * time.Second

// Ask opens a socket, asks the subsystem if the part is one, and closes the socket. It returns ErrNotThere with the
// kernel's errno where that is how it says so: EPROTONOSUPPORT for a protocol, EINVAL for a subsystem. Any other answer
// shows that the part is there, and is no error; but what forbade asking is one (EPERM).
//
// While modprobe runs Ask waits inside the kernel, for as long as that takes.
func (p Part) Ask() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, p.Protocol)
	if err != nil {
		err = fmt.Errorf("open a netlink socket of protocol %d: %w", p.Protocol, err)
		if errors.Is(err, unix.EPROTONOSUPPORT) {
			return fmt.Errorf("%w: %w", ErrNotThere, err)
		}
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	if p.request == 0 {
		return nil
	}
	return p.askSubsystem(fd)
}

func (p Part) askSubsystem(fd int) error {
	fail := func(err error) error {
		return fmt.Errorf("ask nfnetlink's subsystem %d (%s): %w", p.subsystem, p.Name, err)
	}
	timeout := unix.NsecToTimeval(answerTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return fail(err)
	}
	// A netlink header, and nfgenmsg: family unspecified, version 0, resource 0.
	var message [unix.NLMSG_HDRLEN + 4]byte
	binary.NativeEndian.PutUint32(message[0:], uint32(len(message)))
	binary.NativeEndian.PutUint16(message[4:], uint16(p.subsystem)<<8|uint16(p.request))
	binary.NativeEndian.PutUint16(message[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	if err := unix.Sendto(fd, message[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fail(err)
	}
	var answer [512]byte
	n, err := readUninterrupted(fd, answer[:])
	if err != nil {
		return fail(err)
	}
	if n < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return nil // what was asked for
	}
	switch errno := unix.Errno(-int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:]))); errno {
	case unix.EINVAL:
		return fmt.Errorf("%w: %w", ErrNotThere, fail(errno))
	case unix.EPERM:
		return fail(errno)
	}
	return nil
}

func readUninterrupted(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
