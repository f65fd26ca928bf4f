// Package http1 reads the host that an HTTP/1 request is for, because in plain HTTP that
// is the only name there is. It follows RFC 9112: the authority of an absolute-form or
// CONNECT target, else the one Host field, without its port.
//
// What servers must refuse has no name (names.None): two Host fields, one that is folded
// over lines, white space in a field's name, a host with letters that no host has. It
// would be a guess which of two names a careless server takes.
//
// A request is read from the beginning each time that more of it is there: nothing is
// kept between, and who puts segments together bounds bytes and segments. Only the first
// request of a connection is looked at.
package http1
