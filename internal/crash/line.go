package crash

import (
	"regexp"
	"strconv"
	"strings"
)

// message is a line of the kernel's without what log and console put before it.
type message struct {
	text string
	at   *float64 // seconds
}

var (
	// A record of /dev/kmsg: priority and facility, sequence number, microseconds, flags and more; then the text.
	kmsgRecord = regexp.MustCompile(`^(\d{1,10}),\d+,(\d{1,18}),[^;]*;`)
	// What a console or a dumb terminal puts into a line.
	escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`)
	// `<4>` of a raw log; `kern  :warn  : ` of dmesg -x; `Nov 23 20:55:14 host kernel: ` and its ISO form of a journal.
	origin = regexp.MustCompile(`^(<\d{1,3}>|[a-z0-9]+ *:[a-z]+ *: |(\S+ +\d+ [\d:.]+|\d{4}-\d\d-\d\dT\S+) (\S+ )?kernel: )`)
	// `[   12.345678] `, `[<  +0.000010>] `, `[Mon Nov 23 20:55:14 2026] `, and the ISO form of dmesg without brackets.
	stamp = regexp.MustCompile(`^(\[ *(\d+\.\d{6})\] ?|\[[<+ \d.>]*\d[.,]\d{6}>?\] ?|\[[^\]]{2,12} [^\]]{3,12} [ \d]\d [\d:]{8} \d{4}\] ?|\d{4}-\d\d-\d\dT\S+ )`)
	// `[  T123] ` and `[    C0] ` of CONFIG_PRINTK_CALLER.
	caller = regexp.MustCompile(`^\[ *[TC]\d+\] ?`)
	// Where a line goes on after another one that was never ended.
	midStamp = regexp.MustCompile(`\[ {0,4}\d{1,8}\.\d{6}\] ?`)
)

// messages takes a line of a log or console apart. It is usually one message; text that ran into it and messages
// that ran together become several.
func messages(line string) []message {
	line = clean(line)
	if m := kmsgRecord.FindStringSubmatch(line); m != nil {
		return record(m, line[len(m[0]):])
	}
	// What follows a record of /dev/kmsg, indented, is its dictionary: which device it is of.
	if strings.HasPrefix(line, " SUBSYSTEM=") || strings.HasPrefix(line, " DEVICE=") {
		return nil
	}
	var parts []message
	for from := 0; from < len(line) || from == 0; {
		to := len(line)
		// A timestamp at the line's beginning is this message's own.
		if next := midStamp.FindAllStringIndex(line[from:], 2); len(next) > 0 {
			first := next[0]
			if strings.TrimSpace(line[from:from+first[0]]) == "" || origin.FindString(line[from:]) == line[from:from+first[0]] {
				next = next[1:]
			}
			if len(next) > 0 {
				to = from + next[0][0]
			}
		}
		parts = append(parts, single(line[from:to]))
		if from = to; to == len(line) {
			break
		}
	}
	return parts
}

// record takes a record of /dev/kmsg, whose text escapes line ends.
func record(m []string, text string) []message {
	// The facility 0 is the kernel's; a program that writes to /dev/kmsg gets another one (1 where it wants 0).
	if priority, err := strconv.ParseUint(m[1], 10, 32); err != nil || priority>>3 != 0 {
		return nil
	}
	var at *float64
	if us, err := strconv.ParseUint(m[2], 10, 64); err == nil {
		seconds := float64(us) / 1e6
		at = &seconds
	}
	var parts []message
	for line := range strings.SplitSeq(strings.ReplaceAll(text, `\x0a`, "\n"), "\n") {
		line = caller.ReplaceAllString(line, "")
		parts = append(parts, message{strings.TrimRight(line, " "), at})
	}
	return parts
}

func single(line string) message {
	var at *float64
	// Several may follow each other: dmesg's own before the kernel's.
	for {
		rest := origin.ReplaceAllString(line, "")
		if m := stamp.FindStringSubmatch(rest); m != nil {
			rest = rest[len(m[0]):]
			if seconds, err := strconv.ParseFloat(m[2], 64); err == nil {
				at = &seconds
			}
		}
		rest = caller.ReplaceAllString(rest, "")
		if len(rest) == len(line) {
			return message{strings.TrimRight(line, " "), at}
		}
		line = rest
	}
}

// clean takes out what is no text.
func clean(line string) string {
	if strings.Contains(line, "\x1b") {
		line = escapes.ReplaceAllString(line, "")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(line, "?"))
}
