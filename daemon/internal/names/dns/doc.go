// Package dns reads the question of a DNS message where it lies, because the name that is
// asked for is what people decide about. Answers are not read.
//
// A name may be compressed, although no client does that in a question: it is followed
// as servers follow it, within as many bytes as a name has at most.
//
// Over TCP a message has a length of two bytes before it, and any number of messages
// follow each other. Stream reads the first, and says where the next begins: of a
// message no more is needed than its question.
package dns
