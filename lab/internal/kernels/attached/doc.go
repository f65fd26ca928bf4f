// Package attached shows what the kernel tells verdictd of conntrack with each packet (NFQA_CT), on a kernel that
// does: matches on the state and the mark of a flow, a mark that a verdict sets, and verdicts for whole flows. Not all
// kernels have it (CONFIG_NETFILTER_NETLINK_GLUE_CT), so it is tried in a virtual machine.
package attached
