package events

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"verdictd/internal/ct"
)

// lineFormats append one event, and the end of the line.
var lineFormats = map[string]func([]byte, *ct.Event, time.Time) []byte{
	"table": func(b []byte, e *ct.Event, _ time.Time) []byte { return append(e.AppendText(b), '\n') },
	"json":  appendJSON,
	"csv":   appendCSV,
}

const csvHeader = "time,type,protocol,src,dst,sport,dport,reply_src,reply_dst,reply_sport,reply_dport,id,status,timeout,state,mark,zone," +
	"packets,bytes,reply_packets,reply_bytes\n"

// Lines writes events as they come, those of a batch at once.
type Lines struct {
	w      io.Writer
	format func([]byte, *ct.Event, time.Time) []byte
	buf    []byte
	now    time.Time // when the batch was received
}

// NewLines is for one of the formats table, as conntrack -E has it, json and csv.
func NewLines(w io.Writer, format string) *Lines {
	l := &Lines{w: w, format: lineFormats[format]}
	if format == "csv" {
		l.buf = append(l.buf, csvHeader...)
	}
	return l
}

// Event takes one of a batch.
func (l *Lines) Event(e *ct.Event) {
	if l.now.IsZero() {
		l.now = time.Now().UTC()
	}
	l.buf = l.format(l.buf, e, l.now)
}

// Flush writes the batch.
func (l *Lines) Flush() error {
	l.now = time.Time{}
	if len(l.buf) == 0 {
		return nil
	}
	_, err := l.w.Write(l.buf)
	l.buf = l.buf[:0]
	if err != nil {
		return fmt.Errorf("write the events: %w", err)
	}
	return nil
}

const stamp = "2006-01-02T15:04:05.000000Z07:00"

// appendJSON writes an object. None of its texts has a character that JSON would have to escape.
func appendJSON(b []byte, e *ct.Event, at time.Time) []byte {
	b = append(at.AppendFormat(append(b, `{"time":"`...), stamp), `","type":"`...)
	b = append(append(b, e.Type.String()...), `","protocol":"`...)
	b = append(append(b, e.Orig.Protocol.String()...), '"')
	b = appendJSONTuple(append(b, `,"orig":`...), &e.Orig)
	b = appendJSONTuple(append(b, `,"reply":`...), &e.Reply)
	b = appendMember(b, "id", uint64(e.ID), true)
	b = appendMember(b, "status", uint64(e.Status), e.Has&ct.HasStatus != 0)
	b = appendMember(b, "timeout", uint64(e.Timeout), e.Has&ct.HasTimeout != 0)
	if state := e.StateName(); state != "" {
		b = append(append(append(b, `,"state":"`...), state...), '"')
	}
	b = appendMember(b, "mark", uint64(e.Mark), e.Has&ct.HasMark != 0)
	b = appendMember(b, "zone", uint64(e.Zone), e.Zone != 0)
	b = appendMember(b, "start_ns", e.Start, e.Has&ct.HasStart != 0)
	b = appendMember(b, "stop_ns", e.Stop, e.Has&ct.HasStop != 0)
	b = appendMember(b, "portid", uint64(e.PortID), e.PortID != 0)
	if name := e.HelperName(); len(name) > 0 {
		b = strconv.AppendQuoteToASCII(append(b, `,"helper":`...), string(name))
	}
	return append(b, "}\n"...)
}

func appendMember(b []byte, name string, n uint64, sent bool) []byte {
	if !sent {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `":`...)
	return strconv.AppendUint(b, n, 10)
}

func appendJSONTuple(b []byte, t *ct.Tuple) []byte {
	b = t.Src.AppendTo(append(b, `{"src":"`...))
	b = append(t.Dst.AppendTo(append(b, `","dst":"`...)), '"')
	b = appendMember(b, "sport", uint64(t.SrcPort), t.HasPorts)
	b = appendMember(b, "dport", uint64(t.DstPort), t.HasPorts)
	b = appendMember(b, "icmp_type", uint64(t.ICMPType), t.HasICMP)
	b = appendMember(b, "icmp_code", uint64(t.ICMPCode), t.HasICMP)
	b = appendMember(b, "icmp_id", uint64(t.ICMPID), t.HasICMP)
	b = appendMember(b, "zone", uint64(t.Zone), t.Zone != 0)
	b = appendMember(b, "packets", t.Packets, t.HasCounts)
	b = appendMember(b, "bytes", t.Bytes, t.HasCounts)
	return append(b, '}')
}

// appendCSV writes a row below csvHeader. What the kernel did not send is an empty cell.
func appendCSV(b []byte, e *ct.Event, at time.Time) []byte {
	number := func(n uint64, sent bool) {
		b = append(b, ',')
		if sent {
			b = strconv.AppendUint(b, n, 10)
		}
	}
	b = append(at.AppendFormat(b, stamp), ',')
	b = append(append(b, e.Type.String()...), ',')
	b = append(b, e.Orig.Protocol.String()...)
	for _, t := range []*ct.Tuple{&e.Orig, &e.Reply} {
		b = t.Src.AppendTo(append(b, ','))
		b = t.Dst.AppendTo(append(b, ','))
		number(uint64(t.SrcPort), t.HasPorts)
		number(uint64(t.DstPort), t.HasPorts)
	}
	number(uint64(e.ID), true)
	number(uint64(e.Status), e.Has&ct.HasStatus != 0)
	number(uint64(e.Timeout), e.Has&ct.HasTimeout != 0)
	b = append(append(b, ','), e.StateName()...)
	number(uint64(e.Mark), e.Has&ct.HasMark != 0)
	number(uint64(e.Zone), e.Zone != 0)
	for _, t := range []*ct.Tuple{&e.Orig, &e.Reply} {
		number(t.Packets, t.HasCounts)
		number(t.Bytes, t.HasCounts)
	}
	return append(b, '\n')
}
