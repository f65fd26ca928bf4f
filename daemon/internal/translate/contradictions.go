package translate

import (
	"fmt"

	"verdictd/daemon/internal/policy"
	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

// Contradictions are settings that stand against rules of the same configuration, on any kernel.
func Contradictions(cfg *config.Config, needs policy.Needs) (problems Problems) {
	against := func(key, format string, args ...any) {
		problems = append(problems, Problem{Key: key, Text: fmt.Sprintf(format, args...), OfFile: true})
	}
	r := &cfg.Rules
	if needs.Names && cfg.Queues.Count > 1 && r.Install && r.Fanout != vocabulary.FanoutBalance {
		against("rules.fanout", "is %s, with which a flow's packets reach several queues, and rules look for names, "+
			"which takes all of a flow: set it to balance", r.Fanout)
	}
	if Holds(&cfg.Policy) && cfg.Backend != vocabulary.BackendMmsg {
		against("backend", "is %s, which cannot hold packets (pending: hold): set it to mmsg", cfg.Backend)
	}
	return problems
}
