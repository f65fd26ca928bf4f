// Package footprint tells whether programs hold on to memory and descriptors while a load goes on that they should be
// able to bear for ever.
//
// A program looks at itself with [ReadSelf] where it is at rest, before and after: live objects and descriptors must then be
// what they were, whatever the resident set says, of which Go gives back little and late. Other programs are only seen from
// outside: of them a [Watch] samples the resident set and the descriptors. What a program takes when the load begins is no
// leak, so memory is held against what it was when a part of the time had passed.
package footprint
