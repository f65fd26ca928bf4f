// Package events is `lab bench events`: what an event of conntrack costs those who listen for it, in CPU time.
//
// One of the listeners is this program itself ([ListenTimo]), with the library that others use.
package events
