// Package command is `lab kernel run`: any command in a machine with any kernel.
package command
