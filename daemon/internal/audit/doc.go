// Package audit says where a machine stands: whether its rules let packets of one
// new flow clash in conntrack, what its kernel does with such a clash, and what
// can be done about it.
//
// It joins what others read (package kernel: the kernel and what is known of its
// faults; liverules: the rules; nfq: the queues) with who holds the queues and
// who listens to conntrack's events. All is that of the calling thread's network
// namespace.
//
// # The verdict
//
// [Judge] is pure. Each row of its table (verdict.go) is a fault of kernels, what
// it needs of the machine's rules, and what becomes of packets then. A row that
// surely applies, and one that may, are told apart: where what may be is worse than
// what is sure, the verdict is unknown, and says why.
//
// A gate of this project's programs counts where its rules are reached and its queues
// are bound: what it takes does not clash. A mitigation that any process can undo in
// passing changes no verdict and is told beside it: nf_conntrack_events=0 (a CT target
// or `ct event set` attaches events all the same).
//
// # The probe
//
// [RunProbe] makes clashes happen on the running kernel, in a network namespace
// of its own. On a kernel that may crash by it [MayProbe] says no.
package audit
