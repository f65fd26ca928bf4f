// Package nfnl moves netfilter netlink messages (nfnetlink) in batches.
//
// mdlayher/netlink opens the socket and sends the control messages; it copies
// and allocates for each message, which is right for those and too dear for a
// message per packet. The data path therefore takes the same descriptor and
// speaks recvmmsg(2) and sendto(2) on buffers that it owns for ever:
//
//   - a Socket is one nfnetlink socket,
//   - a Receiver is a set of buffers that one recvmmsg call fills,
//   - Next and Attributes walk what was received without copying,
//   - an Encoder lays out messages to be sent by one call.
//
// # Traps
//
// Bytes that a Receiver hands out are overwritten by its next Receive.
//
// The answers to control messages arrive on the same socket as packets do, so
// there is no Execute here: who sends a control message has to look for its
// acknowledgement (an Ack with the returned sequence number) among the
// packets, or it would lose those that arrive in between.
//
// A Socket belongs to the network namespace of the thread that dialled it.
//
// # Debugging
//
// `NLDEBUG=level=1` in the environment prints the control messages
// (mdlayher/netlink); `strace -e trace=recvmmsg,sendto` shows the data path.
package nfnl
