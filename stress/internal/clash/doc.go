// Package clash is the experiment of `stress clash`: bursts of packets that all are the first of their flow, with what
// conntrack counts of them, or what the kernel's own selftest of clash resolution sends.
package clash
