package convert

import (
	"fmt"
	"strings"

	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

// Notes that several rules share.
const (
	noteCase     = "names match in any case here; there, only as they are written"
	noteLabels   = "--by-label: the name and those below it match; there, every name that ends so"
	notePending  = "packets of a flow go on until its name is known, and rules behind are not asked for them"
	noteDNS      = "a verdict on DNS is for one message here; there, for all that follow in its flow"
	noteHostPort = "a host with a port (example.org:8080) matches by its name here; there, with the port"
	noteFirst    = "the first request of a flow is looked at here; there, those after it too"
	noteLog      = "at most 100 packets a second are logged here; there is no bound there"
)

// comparison is how a name is held against a text.
type comparison int

const (
	equals comparison = iota
	endsWith
)

// entry is that of a list that a comparison with a text is. folded says that the original looks at it in lower
// case.
func (s *source) entry(how comparison, text string, folded bool, o *Options) (config.Name, error) {
	for i := range len(text) {
		if c := text[i]; c > '~' || c <= ' ' || strings.IndexByte(`*=@\`, c) >= 0 {
			return config.Name{}, fmt.Errorf("%q has bytes that no entry of names has", text)
		}
	}
	switch {
	case strings.HasSuffix(text, "."):
		return config.Name{}, fmt.Errorf("%q ends with a dot, which names have not where they are compared", text)
	case folded && text != strings.ToLower(text):
		return config.Name{}, fmt.Errorf("%q has capital letters and is compared in lower case, so that it never matches", text)
	case !folded:
		s.note(noteCase)
	}
	var entry string
	switch below, dotted := strings.CutPrefix(text, "."); {
	case how == equals:
		entry = "=" + text
	case dotted:
		entry = "*." + below
	case o.ByLabel:
		s.note(noteLabels)
		entry = text
	default:
		return config.Name{}, fmt.Errorf("every name that ends with %q matches, in the middle of a label too: write %q, or use --by-label", text, "."+text)
	}
	if _, _, err := vocabulary.ParseName(nil, []byte(entry)); err != nil {
		return config.Name{}, fmt.Errorf("%q %w", entry, err)
	}
	return config.Name{Text: entry}, nil
}

// notReply is a flow's first direction: packets of the other one are those that conntrack calls replies.
func notReply() *part {
	return partOf(config.Match{Not: &config.Match{Conntrack: []vocabulary.Conntrack{"reply"}}}, ofTCP|ofUDP)
}

// dnsPort is where questions go, and what is looked at for DNS.
var dnsPort = []config.Ports{{PortRange: vocabulary.PortRange{First: 53, Last: 53}}}

// dnsMessages are messages with a question as d says, of the kinds question and answer.
func dnsMessages(d config.DNS, kinds uint8) condition {
	udp := named(config.Match{DNS: &d, Protocols: udpOnly}, ofUDP, kinds)
	tcp := named(config.Match{DNS: &d, Protocols: tcpOnly}, ofTCP, kinds)
	// Packets of other ports would be pending: those of QUIC are until more is known.
	to, from := partOf(config.Match{DestinationPorts: dnsPort}, ofTCP|ofUDP), partOf(config.Match{SourcePorts: dnsPort}, ofTCP|ofUDP)
	switch kinds {
	case question:
		return condition{udp.and(header(0)).and(to.or(from)), tcp.and(to)}
	case answer:
		return condition{udp.and(header(0x80)).and(to.or(from)), tcp.and(from)}
	}
	return condition{udp.and(to.or(from)), tcp}
}

// header is a message over UDP by its bit QR (RFC 1035, 4.1.1).
func header(qr byte) *part {
	return partOf(config.Match{Payload: []config.Payload{{Offset: 2, Bytes: config.Hex{qr}, Mask: config.Hex{0x80}}}}, ofUDP)
}

// waits reports whether a name may take several packets, as all do but those of DNS over UDP.
func (a *part) waits() bool { return a.named && (a.kinds&other != 0 || a.protocols&ofTCP != 0) }

// named is a part on names.
func named(m config.Match, protocols, kinds uint8) *part {
	return &part{match: m, protocols: protocols, kinds: kinds, named: true, size: 1}
}
