// Package send is `lab bench send`: how fast stress sends, and how surely it provokes clashes, against a C loop,
// trafgen and the kernel's selftest.
package send
