// Package hello reads the name, the protocols and the presence of an encrypted hello in a
// TLS ClientHello, because that is what a client shows of where it goes.
//
// Stream takes bytes of a TCP stream, in which a hello may be spread over records;
// Message takes the hello alone, as QUIC carries it. Both read from the beginning each
// time that more is there, keep nothing, and decide only on a whole hello, as an encrypted
// one may be announced at its end. Who puts segments together bounds bytes and segments.
//
// What servers refuse has no name (names.None): two names, an extension that is there
// twice, lengths that contradict each other, the hello of SSL 2.
//
// An encrypted hello (encrypted_client_hello, RFC 9849) is names.Hidden; the name that
// comes with it is the outer one. Browsers send such an extension with random bytes in
// every hello, where the outer name is the true one (RFC 9849, 6.2): nobody on the way can
// tell the two apart.
package hello
