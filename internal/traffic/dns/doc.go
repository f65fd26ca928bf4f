// Package dns resolves names as C libraries do, and measures how long that takes: the load with which clashes of
// unconfirmed conntrack entries were first met.
//
// A resolver sends the questions for A and AAAA records from one socket at the same time. Both packets are of one new
// UDP flow, so a queue in the path holds two unconfirmed entries of it; where the kernel then drops the loser of the
// clash, as it did before 4.7, or a daemon's guard does, one question is never answered. The resolver asks again after
// its timeout, which is 5 s by default: that is what users notice.
//
// Run serves the answers with a DNS server of its own, so that nothing depends on the network, and resolves every name
// once, so that no cache can answer. The client is its own, which knows each question that it sent, or the system's
// getaddrinfo by way of getent(1), of which only the time and the questions that reach the server are known.
//
// # getaddrinfo
//
// getent runs on threads with mount namespaces of their own, in which resolv.conf and nsswitch.conf are bind-mounted
// over and the socket of nscd is hidden: the system's files are not touched. Such threads are never given back to the
// scheduler.
//
// getaddrinfo, asked by getent, looks which families the machine has addresses of (AI_ADDRCONFIG; loopback's own do not
// count), and asks for records of those only: a namespace without an IPv6 address does not show the problem.
//
// # Where resolvers differ
//
// The built-in client repeats the questions that were not answered, from the same socket, as musl does; musl's interval
// is the timeout divided by the attempts. glibc waits for the whole timeout, and then asks one question after the
// other, from the same socket (as with single-request), and again from another (single-request-reopen).
//
// Go's own resolver and systemd-resolved ask each question from a socket of its own (separate): two flows, and nothing
// that clashes. Seen with Go, musl 1.2.3, glibc 2.36 and systemd-resolved 252, at a server that tells source ports.
package dns
