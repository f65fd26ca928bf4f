// Package events writes what a listener has received: each event as a line, samples, and the document and tables of
// `conntrackwatch events`.
package events
