// Package doctor is `lab kernel doctor`: what is installed for virtual machines and kernels, what is missing, and
// what installs it.
package doctor
