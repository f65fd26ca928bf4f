// Package progress is one way to say how far something long is, on a terminal and elsewhere.
package progress
