// Package tlsclient has hellos as crypto/tls's client says them, because whoever explains a verdict, or tries one,
// needs bytes of a real stack.
package tlsclient
