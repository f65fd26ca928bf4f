package convert

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

// maxLine is the longest rule that Suricata reads, in bytes (DETECT_MAX_RULE_SIZE).
const maxLine = 8192

// signature is a rule of Suricata, taken apart.
type signature struct {
	*source
	action, protocol                  string
	from, fromPorts, way, to, toPorts string
	options                           []option
}

// option is a key with or without a value.
type option struct{ key, value string }

// places are the order of actions within a stage: alerts are counted for what is dropped too, but not for what passes.
var places = map[string]struct {
	place  int
	action vocabulary.Action
}{
	"pass":   {0, vocabulary.Accept},
	"alert":  {1, vocabulary.Count},
	"drop":   {2, vocabulary.Drop},
	"reject": {3, vocabulary.Reject}, "rejectsrc": {3, vocabulary.Reject},
}

// Suricata converts rules of Suricata, one a line. Its order is that of Suricata's default action-order: pass, drop,
// reject, alert.
func Suricata(data []byte, o *Options) (*Result, error) {
	var c collector
	for number, rest := 1, data; len(rest) > 0; {
		line, first := []byte(nil), number
		for more := true; more && len(rest) > 0; number++ {
			piece, behind, _ := bytes.Cut(rest, []byte("\n"))
			rest = behind
			piece, more = bytes.CutSuffix(bytes.TrimRight(piece, " \t\r"), []byte(`\`))
			line = append(line, piece...)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			c.suricata(first, string(line), o)
		}
	}
	return c.end()
}

// suricata converts one rule.
func (c *collector) suricata(number int, line string, o *Options) {
	c.result.Rules++
	s := &source{line: number, name: fmt.Sprintf("rule %d", c.result.Rules)}
	if len(line) > maxLine {
		c.leave(s, fmt.Sprintf("it has %d bytes, more than the %d that Suricata reads", len(line), maxLine))
		return
	}
	g, err := readSignature(s, line)
	if err != nil {
		c.leave(s, err.Error())
		return
	}
	s.name = g.title()
	rules, regexpBytes, err := g.rules(o)
	if err != nil {
		c.leave(s, err.Error())
		return
	}
	c.take(s, rules, regexpBytes)
}

// readSignature takes a rule apart.
func readSignature(s *source, line string) (*signature, error) {
	head, body, ok := strings.Cut(line, "(")
	body, closed := strings.CutSuffix(body, ")")
	fields := headFields(head)
	if !ok || !closed || len(fields) != 7 {
		return nil, errors.New("it is no rule: action, protocol, addresses, ports, -> and options in brackets are needed")
	}
	g := &signature{
		source: s, action: fields[0], protocol: fields[1], from: fields[2], fromPorts: fields[3],
		way: fields[4], to: fields[5], toPorts: fields[6],
	}
	quoted, begin := false, 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '\\':
			i++
		case '"':
			quoted = !quoted
		case ';':
			if quoted {
				continue
			}
			key, value, _ := strings.Cut(body[begin:i], ":")
			g.options = append(g.options, option{strings.TrimSpace(key), strings.TrimSpace(value)})
			begin = i + 1
		}
	}
	if quoted || strings.TrimSpace(body[min(begin, len(body)):]) != "" {
		return nil, errors.New("its last option has no ; at its end")
	}
	return g, nil
}

// headFields are words; a list in brackets is one, with its spaces.
func headFields(head string) []string {
	depth := 0
	return strings.FieldsFunc(head, func(r rune) bool {
		switch r {
		case '[':
			depth++
		case ']':
			depth--
		}
		return depth <= 0 && (r == ' ' || r == '\t')
	})
}

// title is what the rule is called: its number and message.
func (g *signature) title() string {
	message, number := "", g.name
	for _, o := range g.options {
		switch o.key {
		case "msg":
			message = strings.ReplaceAll(strings.Trim(o.value, `"`), `\`, "")
		case "sid":
			number = "sid " + o.value
		}
	}
	return strings.TrimSpace(oneLine(number + " " + message))
}

// protocols of Suricata that are a packet's, and those that are found in flows.
var (
	packetProtocols = map[string][]vocabulary.Protocol{
		"ip": nil, "ipv4": nil, "ip4": nil, "ipv6": nil, "ip6": nil, "tcp": tcpOnly, "tcp-pkt": tcpOnly, "udp": udpOnly,
		"icmp": {1, 58}, "icmpv4": {1}, "icmpv6": {58}, "sctp": {132},
	}
	families = map[string]vocabulary.Family{"ipv4": "ipv4", "ip4": "ipv4", "ipv6": "ipv6", "ip6": "ipv6"}
	// nameProtocols are the protocols that a rule on a name may be for.
	nameProtocols = map[string][]string{
		"tls.sni":   {"tls", "tcp", "ip"},
		"quic.sni":  {"quic", "udp", "ip"},
		"http.host": {"http", "tcp", "ip"},
		"dns.query": {"dns", "udp", "tcp", "ip"},
	}
)

// rules is what becomes of a rule.
func (g *signature) rules(o *Options) ([]staged, int, error) {
	place, ok := places[g.action]
	if !ok {
		return nil, 0, fmt.Errorf("action %s: there are pass, drop, reject, rejectsrc and alert here", oneLine(g.action))
	}
	head, plain, err := g.header(o)
	if err != nil {
		return nil, 0, err
	}
	b, err := g.body()
	if err != nil {
		return nil, 0, err
	}
	var found condition
	regexpBytes := 0
	if b.buffer != "" {
		found, err = g.onName(b, o)
	} else {
		found, regexpBytes, err = g.onPacket(b)
	}
	if err != nil {
		return nil, 0, err
	}
	found = head.and(found)
	var list []staged
	for stage, p := range []*part{found.early, found.late} {
		if p == nil {
			continue
		}
		r := config.Rule{Name: g.name, Match: p.match, Action: place.action}
		// As FlowApplySignatureActions of Suricata has it: what looks at addresses alone, or at the application.
		if flow := b.buffer != "" || plain && b.empty(); flow && place.action != vocabulary.Count {
			r.Flow = &flow
		}
		if place.action == vocabulary.Count && !b.quiet {
			r.Log = logged
			g.note(noteLog)
		}
		if p.waits() {
			g.note(notePending)
		}
		list = append(list, staged{stage*len(places) + place.place, r})
	}
	if len(list) == 0 {
		return nil, 0, errors.New("it never matches")
	}
	return list, regexpBytes, nil
}

// header is the part before the options. plain says that it has no ports.
func (g *signature) header(o *Options) (head condition, plain bool, err error) {
	p := partOf(config.Match{}, ofTCP|ofUDP)
	protocols, ok := packetProtocols[g.protocol]
	if !ok && !slices.Contains([]string{"tls", "quic", "http", "dns"}, g.protocol) {
		return head, false, fmt.Errorf("protocol %s: it is not known here", oneLine(g.protocol))
	}
	p.match.Protocols = protocols
	switch g.protocol {
	case "tcp", "tcp-pkt", "tls", "http":
		p.protocols = ofTCP
	case "udp", "quic":
		p.protocols = ofUDP
	}
	if family, ok := families[g.protocol]; ok {
		p.match.Family = []vocabulary.Family{family}
	}
	from, errFrom := addresses(g.from, o)
	to, errTo := addresses(g.to, o)
	fromPorts, errFromPorts := ports(g.fromPorts, o)
	toPorts, errToPorts := ports(g.toPorts, o)
	if err = errors.Join(errFrom, errTo, errFromPorts, errToPorts); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return head, false, errors.New(first)
	}
	there := direction(from, fromPorts, to, toPorts)
	switch g.way {
	case "->":
		p = p.and(there)
	case "<>":
		p = p.and(there.or(direction(to, toPorts, from, fromPorts)))
	default:
		return head, false, fmt.Errorf("direction %s: there are -> and <> here", oneLine(g.way))
	}
	return condition{early: p}, fromPorts.any() && toPorts.any(), nil
}

// onName is a rule on a name.
func (g *signature) onName(b *body, o *Options) (condition, error) {
	if !slices.Contains(nameProtocols[b.buffer], g.protocol) {
		return condition{}, fmt.Errorf("%s with protocol %s: it never matches", b.buffer, g.protocol)
	}
	if len(b.contents) != 1 || b.size != nil {
		return condition{}, fmt.Errorf("%s: one content is needed that is the name or its end", b.buffer)
	}
	c := &b.contents[0]
	if b.buffer == "http.host" {
		// Suricata has it in lower case.
		c.folded = true
		g.note(noteFirst)
	}
	entry, err := g.nameOf(b.buffer, c, o)
	if err != nil {
		return condition{}, err
	}
	list := []config.Name{entry}
	var found condition
	switch b.buffer {
	case "tls.sni":
		found = late(config.Match{TLS: &config.Hello{Names: list}})
	case "http.host":
		found = late(config.Match{HTTP: &config.HTTPRequest{Names: list}})
	case "quic.sni":
		found = quic(config.Match{QUIC: &config.Hello{Names: list}})
	default:
		g.note(noteDNS)
		found = dnsMessages(config.DNS{Names: list}, question)
	}
	for word := range b.flow {
		switch {
		case word == "to_server" || word == "established" && found.early == nil:
		case word == "established":
			return found, errors.New("flow:established: the first packet of a flow is not of an established one there, and has the name here")
		default:
			return found, fmt.Errorf("flow:%s: names are what clients send, put together from packets", oneLine(word))
		}
	}
	return found, nil
}

// nameOf is the entry for a content.
func (g *signature) nameOf(buffer string, c *content, o *Options) (config.Name, error) {
	text, length := string(c.bytes), len(c.bytes)
	switch {
	case c.negated:
		return config.Name{}, fmt.Errorf("%s: content:!: it matches names that are there and are others, for which this language has no word", buffer)
	case c.offset > 0 || c.depth > 0 && c.depth != length:
		return config.Name{}, fmt.Errorf("%s: offset and depth: names are compared as a whole or from their end here", buffer)
	case c.nocase:
		text, c.folded = strings.ToLower(text), true
	}
	whole := c.ends && (c.starts || c.depth == length) || c.bsize == length
	if c.dotted {
		name, dotted := strings.CutPrefix(text, ".")
		if !dotted || !c.ends || c.starts || c.bsize != 0 || c.depth > 0 {
			return config.Name{}, fmt.Errorf(`%s: dotprefix: content:".NAME"; endswith is what is taken over`, buffer)
		}
		entry, err := g.entry(equals, name, c.folded, o)
		entry.Text = strings.TrimPrefix(entry.Text, "=")
		return entry, err
	}
	switch {
	case c.bsize != 0 && c.bsize != length:
		return config.Name{}, fmt.Errorf("%s: bsize: names have no length here, but for that of the content", buffer)
	case whole:
		return g.entry(equals, text, c.folded, o)
	case c.ends:
		return g.entry(endsWith, text, c.folded, o)
	}
	return config.Name{}, fmt.Errorf("%s: %q anywhere in a name: names are compared as a whole or from their end here", buffer, oneLine(text))
}
