// Command verdictd gives verdicts on packets that NFQUEUE rules hand to it, or
// guards the queues of programs that do. Neither makes conntrack clash: a gate holds
// further packets of a flow until its first one is confirmed (see daemon/internal/gate).
//
//	verdictd run --config FILE      the service: verdicts, behind a gate
//	verdictd guard                  the gate alone, before other programs' queues
//	verdictd check --config FILE    every problem of a configuration at once
//	verdictd rules apply|remove|show
//	verdictd status|top|config|reload   ask a running one
//	verdictd audit                  can packets clash here, and what then?
//
// A request's way through the packages:
//
//	internal/service the life: start, serve, and the order of the stop
//	internal/engine  the verdicts
//	internal/guard   follows the rules; opens and closes the gate
//	internal/gate    the gate
//
// Exit status: 0 done, 1 failed, 64 wrong usage, 78 wrong configuration.
package main
