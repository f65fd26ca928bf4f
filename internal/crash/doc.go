// Package crash finds what a kernel prints when it breaks: oopses, reports of
// KASAN and of its kin, BUG and WARNING lines, refcount warnings, hung tasks,
// lockups, RCU stalls and panics. Each is cut to its extent, and those that the
// project knows are named from a table of signatures.
//
// [Scan] reads any text: the console of a virtual machine, the output of dmesg, a
// journal. [Start] begins a [Watch] of the running kernel: its taint mask, and what
// comes into its log from then on.
//
// # What a report is
//
// A report begins with a line that only a broken kernel prints, at the beginning
// of a message. It ends with the mark that the kernel sets at its end (the second
// line of `=` of KASAN, `end trace`), or, where there is no such mark, with the last
// line that looks like a part of it. Lines of others in between stay: a quotation that was tidied up
// is none. A panic that only follows from the report before it (`Fatal exception`, `panic_on_warn set`) is
// part of that report.
//
// # Traps
//
//   - Most reports of conntrack and of NFQUEUE have the same trace, from netlink_sendmsg through nfqnl_recv_verdict to
//     the hooks. What tells them apart is the function at fault, and with KASAN who freed the memory. A
//     signature asks for these.
//   - Programs may write into the kernel log. Their records carry a facility, which the kernel's have not, and are
//     passed over: text in /dev/kmsg proves nothing, its origin does. On a console both look alike.
//   - The log may be refused: kernel.dmesg_restrict asks for CAP_SYSLOG in the first user namespace. The taint mask is
//     open to all, and then tells that something happened, though not what.
//   - The kernel log is the machine's. A report that came during a run need not come from it.
package crash
