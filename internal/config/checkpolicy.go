package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"verdictd/internal/vocabulary"
)

const (
	// As many bytes as a packet has.
	maxPayload = 65535
	// What daemon/internal/names/flows and daemon/internal/reassembly take.
	maxNamedFlows  = 1 << 22
	maxNameBuffers = 1 << 20
	maxNameBytes   = 1 << 20
	maxNamePackets = 64
	// Nobody waits for a name for longer.
	maxNameTime = time.Minute
	// More than a processor makes.
	maxQUICKeys = 1_000_000
	// They are looked through for each packet.
	maxDNSPorts = 16
	// Of all buffers of one queue.
	maxNameMemory = 1 << 30
	minSampleFile = 1 << 16
	maxSampleFile = 1 << 30
	maxSamples    = 1000
)

func (f *file) checkPolicy(c *Config) {
	p := &c.Policy
	f.oneOf("policy.default", p.Default, vocabulary.Accept, vocabulary.Drop, vocabulary.Reject)
	f.oneOf("policy.undecodable", p.Undecodable, vocabulary.Accept, vocabulary.Drop)
	f.checkDefaults(p.Defaults)
	f.between("policy.regexp_bytes", p.RegexpBytes, 1, maxPayload)
	f.checkNames(&p.Names)
	f.checkSamples(&p.Samples)
	sets := f.checkSets(p.Sets)
	for i := range p.Rules {
		f.checkRule(fmt.Sprintf("policy.rules[%d]", i), &p.Rules[i], c, sets)
	}
}

// oneOf reports an action that is not meant for a key.
func (f *file) oneOf(key string, action vocabulary.Action, list ...vocabulary.Action) {
	if !slices.Contains(list, action) {
		f.wrong(key, "must be one of %s, not %v", joined(list), action)
	}
}

// joined are words with commas between them.
func joined[T any](list []T) string {
	var words []string
	for _, v := range list {
		words = append(words, fmt.Sprint(v))
	}
	return strings.Join(words, ", ")
}

func (f *file) checkDefaults(list []HookDefault) {
	seen := map[vocabulary.Hook]bool{}
	for i, d := range list {
		key := fmt.Sprintf("policy.defaults[%d]", i)
		switch hook := key + ".hook"; {
		case !f.has(hook):
			f.wrong(hook, "is missing: write one of %s", joined(vocabulary.Hooks()))
		case seen[d.Hook]:
			f.wrong(hook, "%s has a default already", d.Hook)
		}
		seen[d.Hook] = true
		if action := key + ".action"; !f.has(action) {
			f.wrong(action, "is missing: write accept, drop or reject")
		}
		f.oneOf(key+".action", d.Action, vocabulary.Accept, vocabulary.Drop, vocabulary.Reject)
	}
}

func (f *file) checkNames(n *NameSearch) {
	f.checkPorts("policy.names.dns_ports", n.DNSPorts, "take it out")
	repeated(f, "policy.names.dns_ports", n.DNSPorts)
	if len(n.DNSPorts) > maxDNSPorts {
		f.wrong("policy.names.dns_ports", "has %d ports, and each packet is held against all of them: name at most %d", len(n.DNSPorts), maxDNSPorts)
	}
	f.between("policy.names.flows", n.Flows, 1, maxNamedFlows)
	f.between("policy.names.buffers", n.Buffers, 1, maxNameBuffers)
	f.between("policy.names.bytes", n.Bytes, 1, maxNameBytes)
	if all := int64(n.Buffers) * int64(n.Bytes); all > maxNameMemory && n.Buffers <= maxNameBuffers && n.Bytes <= maxNameBytes {
		f.wrong("policy.names.buffers", "%d buffers of %d bytes are %d bytes for each queue, more than %d: lower one of them", n.Buffers, n.Bytes, all, maxNameMemory)
	}
	f.between("policy.names.packets", n.Packets, 1, maxNamePackets)
	f.within("policy.names.time", n.Time, time.Millisecond, maxNameTime)
	f.between("policy.names.quic_keys", n.QUICKeys, 1, maxQUICKeys)
}

func (f *file) checkSamples(s *Samples) {
	if s.Directory != "" && !filepath.IsAbs(s.Directory) {
		f.wrong("policy.samples.directory", "%q is no absolute path: begin it with a slash", s.Directory)
	}
	f.between("policy.samples.bytes", s.Bytes, minSampleFile, maxSampleFile)
	f.between("policy.samples.files", s.Files, 1, maxSamples)
}

// checkSets reports what is wrong with sets, and returns their types by their names. One whose type could not be read
// has none.
func (f *file) checkSets(list []Set) map[string]vocabulary.SetType {
	types := map[string]vocabulary.SetType{}
	for i := range list {
		s, key := &list[i], fmt.Sprintf("policy.sets[%d]", i)
		_, twice := types[s.Name]
		switch err := checkSetName(s.Name); {
		case !f.has(key + ".name"):
			f.wrong(key+".name", "is missing: rules name it as %sNAME", setPrefix)
		case err != nil:
			f.wrong(key+".name", "%v", err)
		case twice:
			f.wrong(key+".name", "%s is the name of another set: choose a second one", s.Name)
		}
		if s.Name != "" && !twice {
			types[s.Name] = s.Type
		}
		if !f.has(key + ".type") {
			f.wrong(key+".type", "is missing: write one of %s", joined(s.Type.Values()))
		}
		if !f.has(key+".entries") && s.File == "" {
			f.wrong(key, "has neither entries nor a file, so nothing would ever match it: write one of the two")
		}
		if f.isBad(key + ".type") {
			continue
		}
		for j, entry := range s.Entries {
			if err := checkEntry(s.Type, []byte(entry)); err != nil {
				f.wrong(fmt.Sprintf("%s.entries[%d]", key, j), "%q %v", string(entry), err)
			}
		}
	}
	return types
}

// checkEntry is about an entry of a set.
func checkEntry(of vocabulary.SetType, entry []byte) (err error) {
	switch of {
	case vocabulary.SetPrefixes:
		_, err = vocabulary.ParsePrefix(entry)
	case vocabulary.SetPorts:
		_, err = vocabulary.ParsePorts(entry)
	case vocabulary.SetNames:
		_, _, err = vocabulary.ParseName(nil, entry)
	case vocabulary.SetPairs:
		_, err = vocabulary.ParsePair(entry)
	}
	return err
}
