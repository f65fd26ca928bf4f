// Package names has what the decoders below it share, so that a name means the same to a
// rule wherever it was found: in a DNS question, a ClientHello over TCP or QUIC, or the
// Host of an HTTP request.
//
// A name is text in one form. Letters of ASCII are lower case, labels are separated by
// dots, there is no dot at the end, and the root is ".". What no host's name has in it is
// \DDD, three decimal digits: every byte that is not printable, the space, the backslash,
// and a dot inside of a DNS label. So every dot in a name separates labels, and two names
// are equal exactly when their texts are. Names outside of ASCII come as the field does
// it, in punycode (xn--); raw UTF-8 in a hello or request is a name of \DDD and matches none.
//
// The decoders append to a buffer of the caller's. One of [MaxText] bytes holds every
// name, and nothing is allocated.
package names
