// Package reference is a program on go-nfqueue that accepts everything, as the library's documentation shows it,
// and knows of nothing else. It stands in verdictd's place in rows about other programs, as nfq_reference.c does
// for libnetfilter_queue.
package reference
