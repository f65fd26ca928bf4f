package ct

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// The names of protocols and states are those of conntrack(8), of libnetfilter_conntrack
// 1.0.9; it writes DCCP's states by SCTP's names.
var (
	tcpStates = [...]string{
		"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
	}
	sctpStates = [...]string{
		"NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT",
	}
	eventMarks = [...]string{EventNew: "    [NEW] ", EventUpdate: " [UPDATE] ", EventDestroy: "[DESTROY] "}
)

// StateName is the state of a TCP, SCTP or DCCP connection, empty where the kernel sent none.
func (e *Event) StateName() string {
	var names []string
	switch {
	case e.Has&HasTCPState != 0:
		names = tcpStates[:]
	case e.Has&(HasSCTPState|HasDCCPState) != 0:
		names = sctpStates[:]
	default:
		return ""
	}
	if int(e.State) >= len(names) {
		return names[0]
	}
	return names[e.State]
}

// AppendText appends the event as `conntrack -E` writes it, without the end of the line.
func (e *Event) AppendText(b []byte) []byte {
	b = append(b, eventMarks[e.Type]...)
	name := e.Orig.Protocol.String()
	if name[0] <= '9' { // a number has no name there
		name = "unknown"
	}
	b = append(b, name...)
	for range 8 - len(name) {
		b = append(b, ' ')
	}
	b = append(b, ' ')
	b = append(strconv.AppendUint(b, uint64(e.Orig.Protocol), 10), ' ')
	if e.Has&HasTimeout != 0 {
		b = append(strconv.AppendUint(b, uint64(e.Timeout), 10), ' ')
	}
	if state := e.StateName(); state != "" {
		b = append(append(b, state...), ' ')
	}
	b = e.Orig.appendText(b, "zone-orig=")
	if e.Has&HasStatus != 0 && e.Status&StatusSeenReply == 0 {
		b = append(b, "[UNREPLIED] "...)
	}
	b = e.Reply.appendText(b, "zone-reply=")
	if e.Has&HasStatus != 0 {
		b = appendFate(b, e.Status)
	}
	if e.Has&HasMark != 0 {
		b = appendNumber(b, "mark=", uint64(e.Mark))
	}
	if e.Zone != 0 {
		b = appendNumber(b, "zone=", uint64(e.Zone))
	}
	if e.Has&HasStart != 0 {
		stop := e.Stop
		if stop == 0 {
			stop = uint64(time.Now().UnixNano())
		}
		b = appendNumber(b, "delta-time=", stop/uint64(time.Second)-e.Start/uint64(time.Second))
	}
	if name := e.HelperName(); len(name) > 0 {
		b = append(append(append(b, "helper="...), name...), ' ')
	}
	if e.PortID != 0 {
		b = appendNumber(append(b, "[USERSPACE] "...), "portid=", uint64(e.PortID))
	}
	return b[:len(b)-1]
}

func appendFate(b []byte, status uint32) []byte {
	switch {
	case status&StatusHWOffload != 0:
		return append(b, "[HW_OFFLOAD] "...)
	case status&StatusOffload != 0:
		return append(b, "[OFFLOAD] "...)
	case status&StatusAssured != 0:
		return append(b, "[ASSURED] "...)
	}
	return b
}

// appendNumber appends a name and a number, and a space.
func appendNumber(b []byte, name string, n uint64) []byte {
	return append(strconv.AppendUint(append(b, name...), n, 10), ' ')
}

func (t *Tuple) appendText(b []byte, zone string) []byte {
	b = append(t.Src.AppendTo(append(b, "src="...)), ' ')
	b = append(t.Dst.AppendTo(append(b, "dst="...)), ' ')
	// By the protocol alone: where the kernel sent no ports, as for a protocol that it has
	// no tracker for, conntrack writes zeroes.
	switch t.Protocol {
	case unix.IPPROTO_GRE:
		b = append(strconv.AppendUint(append(b, "srckey=0x"...), uint64(t.SrcPort), 16), ' ')
		b = append(strconv.AppendUint(append(b, "dstkey=0x"...), uint64(t.DstPort), 16), ' ')
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		b = appendNumber(b, "type=", uint64(t.ICMPType))
		b = appendNumber(b, "code=", uint64(t.ICMPCode))
		b = appendNumber(b, "id=", uint64(t.ICMPID))
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_SCTP, unix.IPPROTO_DCCP:
		b = appendNumber(b, "sport=", uint64(t.SrcPort))
		b = appendNumber(b, "dport=", uint64(t.DstPort))
	}
	if t.Zone != 0 {
		b = appendNumber(b, zone, uint64(t.Zone))
	}
	if t.HasCounts {
		b = appendNumber(b, "packets=", t.Packets)
		b = appendNumber(b, "bytes=", t.Bytes)
	}
	return b
}
