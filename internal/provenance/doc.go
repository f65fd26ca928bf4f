// Package provenance says what a result came from: the command line, the
// program's version, the machine, and the namespaces that packets went through.
// A result that lacks it cannot be repeated, and two of them cannot be compared.
//
// What cannot be read is left out, and is said so where its absence could be
// taken for a value. Nothing here needs privileges.
package provenance
