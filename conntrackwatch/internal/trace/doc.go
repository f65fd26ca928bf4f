// Package trace shows each clash of conntrack entries as the kernel meets it: the packet's tuples, the loser's and the
// winner's entry, whose packet it was, and how it ended. Counters tell how many there were and, on 4.18 to 6.11, not
// even that: what those kernels resolve when a queue gives a packet back is in none of them.
//
// Programs in BPF are attached to the entry and the exit of the kernel's functions (bpf/clash.bpf.c has which and why):
//
//   - to nf_ct_resolve_clash, which is static but noinline, or where that cannot be had to __nf_conntrack_confirm,
//     which is exported. The latter is called for every new entry, so it costs more, and of a packet that is dropped
//     there it does not tell whether a clash was the reason;
//   - to nf_conntrack_update, where the kernel has it.
//
// By fentry and fexit where the kernel's type information describes the function, which for modules it does from 5.11
// on (CONFIG_DEBUG_INFO_BTF_MODULES), else by kprobe and kretprobe.
//
// # Traps
//
//   - A trace is of the whole machine. [Config.Netns] filters, in the kernel.
//   - The process is the one on whose behalf the kernel was running. Verdicts are synchronous: for a packet that was
//     queued, it is the process that gave the verdict. In a softirq it is whoever was interrupted.
//   - Addresses of entries are used again within microseconds. They tell entries of one clash apart, no more.
//   - What the loser was is read before the kernel frees it; the winner's status is that of a moment later.
//
// # The object
//
// bpf/clash.bpf.o is compiled from bpf/clash.bpf.c by bpf/compile (go generate), and checked in: neither building nor
// running the project needs a compiler for BPF. bpf/clash.bpf.sum says of which source it was made, and with which
// compiler; a test holds the three together, and compiles it again where clang is installed.
//
// # Debugging
//
// [Refused] has what the kernel said to each attempt, with the verifier's last words; `bpftool prog` lists what is
// loaded, and /sys/kernel/tracing/enabled_functions what fentry is attached to.
package trace
