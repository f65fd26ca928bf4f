// Command stress provokes what a verdict daemon must survive, and accounts for every packet that it sends.
//
//	stress clash    bursts of packets that all are the first of their flow
//
// What its words mean, and what to do when its figures look wrong, is in package load. It sends to loopback, to
// documentation addresses, and elsewhere only where the target is named twice.
//
// Exit status: 0 the run completed, even with loss; 1 it failed, or packets were lost and --fail-on-loss was given;
// 2 wrong usage.
package main
