// Package index finds which of many rules a packet can match, because asking one after the
// other costs a packet more than all the rest of its way.
//
// A dimension is something that rules are about: ports, addresses, names. It is made from
// what each rule wants there, and has for each value a row: a bit for each rule that wants it,
// or that does not care. A rule can match where all dimensions' rows have its bit. So a
// packet costs one look into each dimension and a walk over the words, of 64 rules each,
// that are empty in no row.
//
// Rows that are equal are kept once. Ports have as many as there are ends of ranges,
// prefixes and names at most one for each, so that memory grows with rules times entries: 1,000 rules
// with two ranges of ports each take 544 KB for these at most, MostRules 8.5 MB.
//
// Dimensions do not change after Build, and may be shared by threads.
package index
