// Package top exists so that an operator sees a running daemon at work: what its control
// socket tells, as rates, while it changes (`verdictd top`).
//
//	figures.go  two answers of a daemon, and what happened between them
//	screen.go   the lines of a view, at any width
package top
