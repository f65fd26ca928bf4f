package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"verdictd/daemon/internal/convert"
	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/replay"
	"verdictd/daemon/internal/service"
	"verdictd/daemon/internal/translate"
	"verdictd/internal/cli"
	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

// testCommand is `verdictd test`.
type testCommand struct {
	configFlag
	Pcap    string `required:"" placeholder:"FILE" type:"path" help:"Capture (pcap or pcapng) whose packets are judged."`
	Hook    string `placeholder:"HOOK" help:"Where the packets would be queued: prerouting, input, forward, output or postrouting. Default: where rules.placement of the configuration has them."`
	Explain bool   `help:"Say for each flow which rules were tried, and which part of each failed. Default: not."`
	Expect  string `placeholder:"FILE" type:"path" help:"Compare the verdicts with those in FILE, and fail where they differ. Default: nothing is compared."`
	Record  string `placeholder:"FILE" type:"path" help:"Write the verdicts to FILE, for --expect. Default: not written."`
	JSON    bool   `name:"json" help:"Write one JSON document. Default: text."`
}

// Run is called by kong.
func (c *testCommand) Run() error {
	j, hook, err := c.judgement(c.Hook)
	if err != nil {
		return err
	}
	result, err := replay.Run(&replay.Config{Judgement: j, Capture: c.Pcap, Hook: hook, Explain: c.Explain})
	if err != nil {
		return err
	}
	result.Version, result.Config = version, c.Config
	if c.JSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		err = e.Encode(result)
	} else {
		err = result.WriteText(os.Stdout)
	}
	if err == nil && c.Record != "" {
		err = cli.WriteFile(c.Record, []byte(strings.Join(append(result.Lines(), ""), "\n")))
	}
	if err != nil || c.Expect == "" {
		return err
	}
	return compare(result, c.Expect)
}

// judgement is what packets would be judged by, and where: at the hook that is named, or at
// the one that the configuration queues at.
func (f *configFlag) judgement(hook string) (j engine.Judgement, at vocabulary.Hook, err error) {
	cfg, err := f.loadFile()
	if err != nil {
		return j, "", err
	}
	if at, err = hookOf(hook, cfg.Config); err != nil {
		return j, "", err
	}
	j, err = service.Judgement(cfg.Config)
	if problems, ok := errors.AsType[translate.Problems](err); ok {
		return j, "", configError{problemsOf(cfg, problems)}
	}
	return j, at, err
}

// compare fails with the differences, a line each.
func compare(result *replay.Result, path string) error {
	expected, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--expect: %w: --record FILE writes it", err)
	}
	if err != nil {
		return fmt.Errorf("--expect: %w", err)
	}
	differences := result.Differences(string(expected))
	if len(differences) == 0 {
		return nil
	}
	return fmt.Errorf("verdicts are not as %s expects; - is expected and missing, + is there and not expected:\n%s", path,
		strings.Join(differences, "\n"))
}

// hookOf is the hook that was asked for, or the one that the configuration queues at.
func hookOf(name string, cfg *config.Config) (vocabulary.Hook, error) {
	for _, hook := range vocabulary.Hooks() {
		if string(hook) == name {
			return hook, nil
		}
	}
	if name != "" {
		return "", fmt.Errorf("--hook %s: there are prerouting, input, forward, output and postrouting", name)
	}
	switch cfg.Rules.Placement {
	case vocabulary.PlacementInput, vocabulary.PlacementVerdict3:
		return vocabulary.HookInput, nil
	case vocabulary.PlacementForward:
		return vocabulary.HookForward, nil
	case vocabulary.PlacementPostrouting:
		return vocabulary.HookPostrouting, nil
	}
	return vocabulary.HookOutput, nil
}

// explainCommand is `verdictd explain`.
type explainCommand struct {
	configFlag
	Packet string `placeholder:"HEX" xor:"what" help:"The packet in hexadecimal digits, from its IP header on. Excludes --flow."`
	Flow   string `placeholder:"FLOW" xor:"what" help:"The flow, as in 'udp 192.0.2.1:5000 > 198.51.100.1:53'. Excludes --packet."`
	DNS    string `name:"dns" xor:"name" placeholder:"NAME" help:"With --flow: its question. Excludes --sni and --host. Default: none."`
	Type   string `default:"A" placeholder:"TYPE" help:"Type of the question. Default: ${default}."`
	SNI    string `name:"sni" xor:"name" placeholder:"NAME" help:"With --flow over TCP: the name in its ClientHello. Excludes --dns and --host. Default: none."`
	Host   string `xor:"name" placeholder:"NAME" help:"With --flow over TCP: the host of its HTTP request. Excludes --dns and --sni. Default: none."`
	Hook   string `placeholder:"HOOK" help:"Where the packet would be queued: prerouting, input, forward, output or postrouting. Default: where rules.placement of the configuration has it."`
	Mark   uint32 `placeholder:"N" help:"The packet's mark. Default: 0."`
	In     string `placeholder:"NAME" help:"The interface that it came in by. Default: none."`
	Out    string `placeholder:"NAME" help:"The interface that it goes out by. Default: none."`
}

// Run is called by kong.
func (c *explainCommand) Run() error {
	if c.Packet == "" && c.Flow == "" {
		return errors.New("what is to be explained? Give --packet HEX or --flow FLOW")
	}
	j, hook, err := c.judgement(c.Hook)
	if err != nil {
		return err
	}
	lines, err := replay.Describe(&replay.Description{
		Judgement: j, Hook: hook, Packet: c.Packet, Flow: c.Flow, DNS: c.DNS, Type: c.Type, SNI: c.SNI, Host: c.Host,
		Mark: c.Mark, In: c.In, Out: c.Out,
	})
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(lines, "\n"))
	return nil
}

// importCommand is `verdictd import`.
type importCommand struct {
	From    string            `arg:"" enum:"opengfw,suricata" help:"Whose rules they are: opengfw or suricata."`
	File    string            `arg:"" type:"path" help:"File with the rules; - is the standard input."`
	Output  string            `placeholder:"FILE" type:"path" help:"Write the configuration to FILE. Default: to the standard output."`
	ByLabel bool              `name:"by-label" help:"Take names that end with example.org for example.org and the names below it, though notexample.org ends so too. Default: such rules are not taken over."`
	Var     map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"Group of addresses or ports that Suricata's configuration has, as in HOME_NET=[192.0.2.0/24]; may be repeated. Default: rules that name one are not taken over."`
	Strict  bool              `help:"Exit with 1 where a rule is not taken over. Default: 0."`
}

// Run is called by kong.
func (c *importCommand) Run() error {
	data, err := c.read()
	if err != nil {
		return err
	}
	var result *convert.Result
	options := &convert.Options{ByLabel: c.ByLabel, Variables: c.Var}
	if c.From == "opengfw" {
		result, err = convert.OpenGFW(c.File, data, options)
	} else {
		result, err = convert.Suricata(data, options)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	for _, left := range result.Left {
		fmt.Fprintf(os.Stderr, "%s:%d: not taken over: %s: %s\n", c.File, left.Line, left.Rule, left.Why)
	}
	for _, note := range result.Notes {
		fmt.Fprintf(os.Stderr, "%s: note: %s (lines %s)\n", c.File, note.Text, strings.Trim(fmt.Sprint(note.Lines), "[]"))
	}
	fmt.Fprintf(os.Stderr, "%s: %d of %d rules taken over\n", c.File, result.Taken, result.Rules)
	if c.Output != "" {
		err = cli.WriteFile(c.Output, result.Config)
	} else {
		_, err = os.Stdout.Write(result.Config)
	}
	if err == nil && c.Strict && len(result.Left) > 0 {
		err = fmt.Errorf("%s: %d rules are not taken over", c.File, len(result.Left))
	}
	return err
}

// read reads the rules, within bounds.
func (c *importCommand) read() ([]byte, error) {
	file := os.Stdin
	if c.File != "-" {
		var err error
		if file, err = os.Open(c.File); err != nil {
			return nil, err
		}
		defer file.Close() //nolint:errcheck // it was only read
	}
	data, err := io.ReadAll(io.LimitReader(file, convert.MaxBytes+1))
	if err == nil && len(data) > convert.MaxBytes {
		err = fmt.Errorf("%s: has more than %d bytes: convert it in parts", c.File, convert.MaxBytes)
	}
	return data, err
}
