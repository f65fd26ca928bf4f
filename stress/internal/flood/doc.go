// Package flood is the experiment of `stress flood`: packets of a few flows as fast as it goes, or at a rate, with what
// sending costs.
package flood
