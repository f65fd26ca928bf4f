// Package language exists so that what the policy language promises is tried with the
// program that people run, on the kernel's queues, and with the clients that people use:
// names in DNS, TLS, QUIC and HTTP, packets that wait for a name, and sets that change
// under load.
package language
