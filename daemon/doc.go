// Command verdictd gives verdicts on packets that NFQUEUE rules hand to it, and
// never provokes a conntrack clash by doing so (see internal/gate).
//
//	verdictd run --config FILE      the service
//	verdictd check --config FILE    every problem of a configuration at once
//	verdictd rules apply|remove|show
//
// Exit status: 0 done, 1 failed, 64 wrong usage, 78 wrong configuration.
package main
