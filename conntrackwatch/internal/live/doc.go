// Package live shows what namespaces count as it changes: lines for programs and for paper, and a view that is redrawn
// on a terminal.
package live
