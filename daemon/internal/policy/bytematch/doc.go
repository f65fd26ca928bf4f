// Package bytematch matches regular expressions against bytes, because payloads are no
// text: the standard library's expressions read UTF-8, in which a byte above 0x7f alone is
// no character, and take memory from a pool as they match.
//
// The syntax is RE2's, as the standard library parses it (regexp/syntax). A
// character is a byte: \xff is the byte 0xff, . is each but \n, and (?i) is about letters of
// ASCII and Latin-1. Characters outside of ASCII are refused, as nobody could know in which
// encoding they are meant; their bytes can be written.
//
// # What it costs
//
// A Regexp is made into a table with a step for each byte, as long as that is no larger than
// 256 KiB. One that is larger, for example because of a count such as .{100} in the middle,
// is followed instruction by instruction: some 100 times slower, and still in time that
// grows with the bytes alone. Either takes no memory while it matches.
package bytematch
