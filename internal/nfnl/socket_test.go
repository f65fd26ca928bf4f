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
}

func TestControlWithoutMessages(t *testing.T) {
	if _, err := new(Socket).Control(); err == nil {
		t.Error("no message was sent, and no error told so")
	}
}
