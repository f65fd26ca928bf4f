// Package limit counts packets against rates, because a rule may be meant for so many a
// second and no more: in all, or for each source, destination or name.
//
// A Limit is shared by all workers, since a rate is that of the rule and not of a queue: with
// one for each worker, 100 a second would be 400 in four queues, and a quarter each would
// give 25 to a flow, as a flow has one queue. No lock is needed: the state of a bucket is one number,
// the time at which it is full again (the generic cell rate algorithm, ITU-T I.371), and
// is changed by compare and swap. Who loses has seen that another has taken a token. A
// bucket that is empty is only read.
//
// # Many buckets
//
// A Limit for keys has a fixed number of buckets in groups of eight, and a key's hash says
// which group. Where none of them is free, a new key takes the place of the one that is
// full again soonest, with what that one has used. So a key is never given more than its
// rate by others that push it out, and a flood of new keys makes these share buckets
// (Shared counts how often). Two workers that see the same new key at the same moment may
// rarely give it a bucket each; one of them is not found again.
//
// Hashes have 64 bits and a secret. Two keys with the same one share a bucket.
package limit
