package nfnl

import (
	"testing"
	"unsafe"
)

// TestMmsghdrSize: the kernel walks an array of these.
func TestMmsghdrSize(t *testing.T) {
	word := unsafe.Sizeof(uintptr(0))
	if size := unsafe.Sizeof(Mmsghdr{}); size != 8*word {
		t.Errorf("struct mmsghdr has %d bytes, want %d", size, 8*word)
	}
	var m received
	var c Mmsghdr
	if unsafe.Sizeof(m) != unsafe.Sizeof(c) || unsafe.Offsetof(m.len) != unsafe.Offsetof(c.Len) ||
		unsafe.Offsetof(m.header.iov) != unsafe.Offsetof(c.Hdr.Iov) || unsafe.Offsetof(m.header.flags) != unsafe.Offsetof(c.Hdr.Flags) {
		t.Error("the receiver's messages are not laid out as struct mmsghdr")
	}
}

func TestControlWithoutMessages(t *testing.T) {
	if _, err := new(Socket).Control(); err == nil {
		t.Error("no message was sent, and no error told so")
	}
}
