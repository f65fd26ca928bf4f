package ct

import (
	"errors"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

const ctaMarkMask = 21

// ClearMarks clears bits in the marks of all entries whose marks have a value in some of
// them, in every zone of the network namespace of the calling thread, and returns how many
// it has changed. Entries that are made meanwhile may be left out. The kernel picks them
// out, so that where there are none it costs its walk through the table.
//
// Other bits stay as they are, also where somebody changes them at the same time (kernels
// before 3.15 clear them: 534473c6080e).
func ClearMarks(bits, compared, value uint32) (changed int, err error) {
	const op = "clear marks of entries"
	list, err := nfnl.Dial(nfnl.Config{ReceiveBuffer: 1 << 20, ReportLoss: true})
	if err != nil {
		return 0, explain(op, err)
	}
	defer func() { err = errors.Join(err, list.Close()) }()
	change, err := nfnl.Dial(nfnl.Config{})
	if err != nil {
		return 0, explain(op, err)
	}
	defer func() { err = errors.Join(err, change.Close()) }()

	var enc nfnl.Encoder
	enc.BeginDump(nfnl.Type(unix.NFNL_SUBSYS_CTNETLINK, msgGet), unix.AF_UNSPEC)
	enc.Uint32(ctaMark, value)
	enc.Uint32(ctaMarkMask, compared)
	enc.End()
	if err := list.Send(enc.Bytes()); err != nil {
		return 0, explain(op, err)
	}
	received := nfnl.NewReceiver(4, messageBuffer)
	for {
		n, err := received.Receive(list, true)
		if err != nil {
			return changed, explain(op, err)
		}
		for i := range n {
			b, _ := received.Datagram(i)
			enc.Reset()
			done, cleared, err := clearIn(&enc, b, bits, compared, value)
			if err == nil && cleared > 0 {
				err = change.Send(enc.Bytes())
				changed += cleared
			}
			switch {
			case err != nil:
				return changed, explain(op, err)
			case done:
				return changed, nil
			}
		}
	}
}

// clearIn lays out a change for each entry of a datagram of the list. An entry that is
// gone by then is refused (ENOENT), which nobody needs to hear of.
func clearIn(enc *nfnl.Encoder, b []byte, bits, compared, value uint32) (done bool, cleared int, err error) {
	for {
		m, rest, ok := nfnl.Next(b)
		if !ok {
			return false, cleared, nil
		}
		b = rest
		if errno, ok := m.Ack(); ok && errno != 0 {
			return true, cleared, errno
		}
		if m.Type == unix.NLMSG_DONE {
			return true, cleared, nil
		}
		if m.Type != nfnl.Type(unix.NFNL_SUBSYS_CTNETLINK, msgNew) || len(m.Body) < nfgenmsgLen {
			continue
		}
		var tuple, zone []byte
		var mark uint32
		for list := m.Attributes(); ; {
			kind, data, ok := list.Next()
			if !ok {
				break
			}
			switch kind {
			case ctaTupleOrig:
				tuple = data
			case ctaZone:
				zone = data
			case ctaMark:
				mark = number32(data)
			}
		}
		if mark&compared != value || tuple == nil {
			continue // a kernel that does not know the filter
		}
		enc.Begin(nfnl.Type(unix.NFNL_SUBSYS_CTNETLINK, msgNew), m.Body[0], 0)
		enc.Raw(ctaTupleOrig|unix.NLA_F_NESTED, tuple)
		if zone != nil {
			enc.Raw(ctaZone, zone)
		}
		enc.Uint32(ctaMark, 0)
		enc.Uint32(ctaMarkMask, bits)
		enc.End()
		cleared++
	}
}
