// Package userns lets a program that makes network namespaces run as an ordinary user: it starts the same command once
// more as root of a user namespace, where that is needed and allowed.
//
// What the inner program cannot do is touch what belongs to the machine: namespaces made by root, modules, sysctls
// outside of its own namespaces. A program that is given namespaces by path must not use [Ensure], as it would lose what
// right it has to enter them.
package userns
