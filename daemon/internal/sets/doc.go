// Package sets holds lists that rules look packets up in: prefixes, ports, names, and
// pairs of an address and a port. It exists because such lists have a million entries,
// come from files that people and programs write, and change while packets pass.
//
// A builder takes entries one by one (Add) or from a text (Read), and its Build gives the
// set, which does not change any more. So a reload builds a new set beside the old one and
// swaps one atomic pointer: readers have no lock, and a text that is wrong leaves the old
// set in force. Looking up allocates nothing.
//
// # A text
//
// One entry a line, UTF-8, plain or gzip. What follows a # at the beginning of a line or
// behind white space is a comment. Every line that is no entry is reported with its number
// and with what to write (Problems). Entries that are there twice are no problem.
//
//	prefixes   192.0.2.0/24   2001:db8::/32   192.0.2.1
//	ports      53   1000-2000
//	names      example.org    it and all names below it
//	           *.example.org  all names below it
//	           =example.org   that name alone
//	pairs      192.0.2.1:53   [2001:db8::1]:53
//
// Names of other alphabets are brought into the form that DNS and TLS have (IDNA, UTS 46).
//
// # Memory
//
// go test ./daemon/internal/sets -run xxx -bench . tells bytes for each entry and the time
// to load a million. For random entries: 36 bytes for an IPv4 prefix of 16 to 32 bits, 63
// for a single IPv4 address, 38 for an IPv6 prefix, 40 for a name of 21 letters, 38 and 42
// for a pair of IPv4 and of IPv6. A million takes 0.5 to 1.1 s.
package sets
