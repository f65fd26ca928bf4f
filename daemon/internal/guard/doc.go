// Package guard exists to keep a gate in step with the machine's rules: it reads them,
// plans what has to pass the gate, and opens, refills and closes it.
//
//	claim.go    who has a table in this network namespace
//	keeper.go   the loop that follows the rules
//	plan.go     what has to pass the gate, by the rules as they are
//	gate.go     the gate that a plan asks for
//	end.go      how it ends without a lost packet
//
// # Lifetime
//
// [New], [Keeper.Begin], [Keeper.Serve]; then [Keeper.End], [Keeper.Hush] and
// [Keeper.DetachVerdicts] where the process judges packets itself, [Keeper.Reopen],
// [Keeper.Detach], [Keeper.Stop], [Keeper.Statistics], [Keeper.Free] and
// [Keeper.Remove], in this order. All but [Keeper.Hints] belong to one goroutine.
package guard
