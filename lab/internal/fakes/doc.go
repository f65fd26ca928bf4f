// Package fakes lets a test's own binary play the programs that the lab starts, so that their failures can be
// arranged and what is left of them can be looked for.
//
// The TestMain of such a test asks [Playing] and then calls [Play]. What a fake does is said in the environment.
package fakes
