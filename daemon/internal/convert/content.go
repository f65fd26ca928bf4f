package convert

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"verdictd/internal/config"
)

// content is a text that has to be in a packet, or in a name.
type content struct {
	bytes                         []byte
	negated, nocase, starts, ends bool
	offset, depth, bsize          int
	dotted, folded                bool // the name is looked at with a dot before it, or in lower case
}

// body is what the options say.
type body struct {
	buffer   string // "" is the packet's payload
	contents []content
	size     *string // dsize
	flow     map[string]bool
	quiet    bool
}

func (b *body) empty() bool { return len(b.contents) == 0 && b.size == nil && len(b.flow) == 0 }

// without effect on what matches.
var silent = map[string]bool{
	"msg": true, "sid": true, "rev": true, "gid": true, "classtype": true, "reference": true, "metadata": true, "priority": true,
	"fast_pattern": true, "target": true,
}

// why are reasons for options that are seen often.
var why = map[string]string{
	"pcre":     "expressions of PCRE are others than RE2's: write the rule with regexp",
	"distance": "contents that are relative to others are not taken over", "within": "contents that are relative to others are not taken over",
	"flowbits":         "rules do not remember here what others saw",
	"threshold":        "limits count otherwise here: write the rule with limit",
	"detection_filter": "limits count otherwise here: write the rule with limit",
	"http.uri":         "of HTTP, only the host is known here", "http.method": "of HTTP, only the host is known here", "http.user_agent": "of HTTP, only the host is known here",
}

// buffers are the names that a rule can be about, by all that Suricata calls them.
var buffers = map[string]string{
	"tls.sni": "tls.sni", "tls_sni": "tls.sni", "dns.query": "dns.query", "dns_query": "dns.query", "http.host": "http.host", "quic.sni": "quic.sni",
}

// body reads the options.
func (g *signature) body() (*body, error) {
	b := &body{flow: map[string]bool{}}
	var next content // what the buffer's transformations make of the next one
	for _, o := range g.options {
		buffer, isBuffer := buffers[o.key]
		switch {
		case silent[o.key]:
		case o.key == "noalert":
			b.quiet = true
		case isBuffer:
			if b.buffer != "" || len(b.contents) > 0 {
				return nil, fmt.Errorf("%s: one name, and nothing else of the packet, is what a rule can be about", o.key)
			}
			b.buffer = buffer
		case o.key == "http_host":
			if b.buffer != "" || len(b.contents) != 1 {
				return nil, errors.New("http_host: one content has to stand before it, and nothing else")
			}
			b.buffer = "http.host"
		case o.key == "dotprefix" && b.buffer != "" && len(b.contents) == 0:
			next.dotted = true
		case o.key == "to_lowercase" && b.buffer != "" && len(b.contents) == 0:
			next.folded = true
		case o.key == "content":
			c := next
			if err := c.read(o.value); err != nil {
				return nil, err
			}
			b.contents = append(b.contents, c)
		case o.key == "dsize":
			if b.size != nil {
				return nil, errors.New("dsize: it is there twice")
			}
			b.size = &o.value
		case o.key == "flow":
			for word := range strings.SplitSeq(o.value, ",") {
				b.flow[direct(strings.TrimSpace(word))] = true
			}
		default:
			if err := b.modify(o); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

// direct gives one of two words that mean the same.
func direct(word string) string {
	switch word {
	case "from_client":
		return "to_server"
	case "from_server":
		return "to_client"
	}
	return word
}

// modify is about an option that says more of the last content.
func (b *body) modify(o option) error {
	if reason, ok := why[o.key]; ok {
		return fmt.Errorf("%s: %s", o.key, reason)
	}
	n := len(b.contents)
	if n == 0 {
		return fmt.Errorf("%s: it is not taken over", oneLine(o.key))
	}
	c, number := &b.contents[n-1], 0
	switch o.key {
	case "offset", "depth", "bsize":
		var err error
		if number, err = strconv.Atoi(o.value); err != nil || number < 0 || number > allPayload || number == 0 && o.key != "offset" {
			return fmt.Errorf("%s: %q is no number that is taken over", o.key, oneLine(o.value))
		}
	}
	switch o.key {
	case "nocase":
		c.nocase = true
	case "startswith":
		c.starts = true
	case "endswith":
		c.ends = true
	case "isdataat":
		if strings.ReplaceAll(o.value, " ", "") != "!1,relative" {
			return errors.New("isdataat: it is taken over as !1,relative alone")
		}
		c.ends = true
	case "offset":
		c.offset = number
	case "depth":
		c.depth = number
	case "bsize":
		if b.buffer == "" {
			return errors.New("bsize: it is taken over for names alone")
		}
		c.bsize = number
	default:
		return fmt.Errorf("%s: it is not taken over", oneLine(o.key))
	}
	return nil
}

// read reads a content's value: text in quotes, with bytes between |.
func (c *content) read(value string) error {
	value, c.negated = strings.CutPrefix(value, "!")
	value = strings.TrimSpace(value)
	if len(value) < 3 || value[0] != '"' || value[len(value)-1] != '"' {
		return fmt.Errorf("content: %q is no text in quotes", oneLine(value))
	}
	value = value[1 : len(value)-1]
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '|':
			length := strings.IndexByte(value[i+1:], '|')
			if length < 0 {
				return errors.New("content: a | has no other one")
			}
			b, err := hex.DecodeString(strings.ReplaceAll(value[i+1:i+1+length], " ", ""))
			if err != nil {
				return fmt.Errorf("content: %q is no bytes", oneLine(value[i+1:i+1+length]))
			}
			c.bytes = append(c.bytes, b...)
			i += length + 1
		case '\\':
			if i++; i == len(value) || strings.IndexByte(`\";:`, value[i]) < 0 {
				return errors.New(`content: a \ stands before none of \, ", ; and : alone`)
			}
			c.bytes = append(c.bytes, value[i])
		default:
			c.bytes = append(c.bytes, value[i])
		}
	}
	if len(c.bytes) == 0 {
		return errors.New("content: it is empty")
	}
	return nil
}

// onPacket is a rule on headers and on the payload of single packets.
func (g *signature) onPacket(b *body) (found condition, regexpBytes int, err error) {
	p := partOf(config.Match{}, ofTCP|ofUDP)
	if _, ok := packetProtocols[g.protocol]; !ok {
		return found, 0, fmt.Errorf("protocol %s without a name: Suricata finds it otherwise than this program does", g.protocol)
	}
	for word := range b.flow {
		switch word {
		case "to_server":
			p = p.and(notReply())
		case "to_client":
			p = p.and(partOf(*notReply().match.Not, ofTCP|ofUDP))
		case "no_stream", "stateless":
		default:
			return found, 0, fmt.Errorf("flow:%s: Suricata and conntrack do not mean the same by it", oneLine(word))
		}
	}
	single := g.protocol == "udp" || g.protocol == "tcp-pkt" || g.protocol == "tcp" && (b.flow["no_stream"] || b.size != nil)
	if len(b.contents) > 0 && !single || b.size != nil && g.protocol != "tcp" && !single {
		return found, 0, fmt.Errorf("content with protocol %s: it may be in several packets there; udp and tcp-pkt are taken over", g.protocol)
	}
	if b.size != nil {
		m, n, err := sized(*b.size)
		if err != nil {
			return found, 0, err
		}
		p, regexpBytes = p.and(partOf(m, ofTCP|ofUDP)), n
	}
	positive := false
	for i := range b.contents {
		c := &b.contents[i]
		m, n, err := c.match()
		if err != nil {
			return found, 0, err
		}
		if c.negated {
			inner := m
			m = config.Match{Not: &inner}
		}
		positive = positive || !c.negated
		p, regexpBytes = p.and(partOf(m, ofTCP|ofUDP)), max(regexpBytes, n)
	}
	if len(b.contents) > 0 && !positive {
		return found, 0, errors.New("content:! alone: packets without a payload match here, and there not")
	}
	return condition{early: p}, regexpBytes, nil
}

// match is a content in a payload, and how many bytes an expression has to look at for it.
func (c *content) match() (config.Match, int, error) {
	length := len(c.bytes)
	last := c.depth - length // how far behind offset it may begin
	switch {
	case c.depth > 0 && last < 0:
		return config.Match{}, 0, errors.New("depth: it is shorter than the content")
	case c.starts && (c.offset > 0 || c.depth > 0):
		return config.Match{}, 0, errors.New("startswith with offset or depth: Suricata refuses it")
	}
	fixed := c.starts || c.depth > 0 && last == 0
	if fixed && !c.nocase && !c.ends {
		return config.Match{Payload: []config.Payload{{Offset: c.offset, Bytes: c.bytes}}}, 0, nil
	}
	expression, bytes := "", allPayload
	switch {
	case fixed:
		expression = fmt.Sprintf("^.{%d}", c.offset)
	case c.depth > 0:
		expression = fmt.Sprintf("^.{%d,%d}", c.offset, c.offset+last)
	case c.offset > 0:
		expression = fmt.Sprintf("^.{%d,}", c.offset)
	}
	if (fixed || c.depth > 0) && !c.ends {
		bytes = c.offset + max(c.depth, length)
	}
	expression = "(?s)" + strings.TrimSuffix(expression, ".{0}") + c.literal()
	if c.ends {
		expression += `\z`
	}
	return config.Match{Regexp: expression}, bytes, nil
}

// literal is the content as an expression, with letters of ASCII in either case where that is asked for.
func (c *content) literal() string {
	var b strings.Builder
	for _, r := range c.bytes {
		switch letter := r | 0x20; {
		case c.nocase && 'a' <= letter && letter <= 'z':
			fmt.Fprintf(&b, "[%c%c]", letter, letter-0x20)
		case r < ' ' || r > '~':
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteString(regexp.QuoteMeta(string(rune(r))))
		}
	}
	return b.String()
}

// sized is dsize, the length of a payload: N, <N, >N, or N<>M, whose ends are not in it.
func sized(text string) (config.Match, int, error) {
	low, high, span := strings.Cut(strings.ReplaceAll(text, " ", ""), "<>")
	at := func(text string) int {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > allPayload {
			return -1
		}
		return n
	}
	least, most := -1, -1 // without a bound: 0, and -1
	switch {
	case span:
		least, most = at(low)+1, at(high)-1
		if at(low) < 0 || at(high) < 0 || least > most {
			least = -1
		}
	case strings.HasPrefix(low, ">"):
		if n := at(low[1:]); n >= 0 {
			least = n + 1
		}
	case strings.HasPrefix(low, "<"):
		if n := at(low[1:]); n > 0 {
			least, most = 0, n-1
		}
	default:
		least = at(low)
		most = least
	}
	if least < 0 {
		return config.Match{}, 0, fmt.Errorf("dsize: %q is no length that is taken over", oneLine(text))
	}
	// A packet without a payload has none that an expression could look at.
	m := config.Match{}
	if least > 0 {
		m.Regexp = fmt.Sprintf("(?s)^.{%d}", least)
	}
	if most >= 0 {
		m = both(m, config.Match{Not: &config.Match{Regexp: fmt.Sprintf("(?s)^.{%d}", most+1)}})
	}
	return m, max(least, most+1), nil
}
