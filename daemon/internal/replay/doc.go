// Package replay holds a policy against packets of a capture, or against one that is described, because a policy is to
// be tried before it is in force: it is `verdictd test` and `verdictd explain`.
//
// The verdicts are those of the engine's own worker (engine.Replay), with the times of the capture: flows are put
// together, packets wait for names, and limits count as they would in the daemon.
//
// A capture does not have everything that a rule can ask for. Conntrack's state, marks, and who owns a socket are not
// there: rules that ask for them do not match (conntrack: untracked does).
package replay
