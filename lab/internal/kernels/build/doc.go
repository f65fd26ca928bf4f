// Package build builds the lab's own kernels, with its configuration and its progress, for `lab kernel build` and
// for those that need one.
package build
