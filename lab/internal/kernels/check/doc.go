// Package check is `lab kernel check`: in a few minutes, whether the programs keep on other kernels what they
// promise.
package check
