package replay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// captured is a packet of a capture.
type captured struct {
	number int // from 1 on, as Wireshark counts
	at     time.Time
	device string // the interface's name; "": not told
	bytes  []byte // from the IP header on; nil: there is none
	length int    // of the whole packet from the IP header on
}

// readCapture reads a pcap or pcapng file of any link type that gopacket knows.
func readCapture(path string, packet func(*captured) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the capture: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := readFrom(f, packet); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// maxCaptured is the longest packet of a pcap file, in bytes: as tcpdump's (MAXIMUM_SNAPLEN).
const maxCaptured = 256 << 10

// source is what both readers are.
type source interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
}

func readFrom(r io.Reader, packet func(*captured) error) error {
	in := bufio.NewReader(r)
	magic, err := in.Peek(4)
	if err != nil {
		return errors.New("it is empty, or shorter than a capture's header: write one with tcpdump -w FILE")
	}
	var from source
	var link func(gopacket.CaptureInfo) (layers.LinkType, string)
	if bytes.Equal(magic, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		var ng *pcapgo.NgReader
		err := survived(func() (err error) {
			ng, err = pcapgo.NewNgReader(&blocks{in: in}, pcapgo.NgReaderOptions{WantMixedLinkType: true})
			return err
		})
		if err != nil {
			return fmt.Errorf("read it as pcapng: %w", err)
		}
		from = ng
		link = func(ci gopacket.CaptureInfo) (layers.LinkType, string) {
			i, err := ng.Interface(ci.InterfaceIndex)
			if err != nil {
				return ng.LinkType(), ""
			}
			return i.LinkType, i.Name
		}
	} else {
		plain, err := pcapgo.NewReader(in)
		if err != nil {
			return fmt.Errorf("it is neither pcap nor pcapng: %w", err)
		}
		// Some programs write longer packets than they say; others say more than there is memory.
		plain.SetSnaplen(maxCaptured)
		from = plain
		link = func(gopacket.CaptureInfo) (layers.LinkType, string) { return plain.LinkType(), "" }
	}
	for number := 1; ; number++ {
		var data []byte
		var info gopacket.CaptureInfo
		err := survived(func() (err error) {
			data, info, err = from.ReadPacketData()
			return err
		})
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("it ends in the middle of packet %d: the capture was cut off", number)
		case err != nil:
			return fmt.Errorf("read packet %d: %w", number, err)
		}
		c := &captured{number: number, at: info.Timestamp}
		kind, device := link(info)
		c.device = device
		c.bytes = fromIP(data, kind)
		c.length = len(c.bytes) + max(0, info.Length-info.CaptureLength)
		if err := packet(c); err != nil {
			return err
		}
	}
}

// survived makes an error of a panic: pcapgo divides by what a file says of its times.
func survived(read func() error) (err error) {
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("what it says of itself cannot be: %v", why)
		}
	}()
	return read()
}

// fromIP is the packet from its IP header on; nil where it has none.
func fromIP(data []byte, kind layers.LinkType) []byte {
	if kind == layers.LinkTypeRaw || kind == layers.LinkTypeIPv4 || kind == layers.LinkTypeIPv6 {
		return data
	}
	p := gopacket.NewPacket(data, kind, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	for _, layer := range p.Layers() {
		switch layer.LayerType() {
		case layers.LayerTypeIPv4, layers.LayerTypeIPv6:
			// A layer is a part of data: what is behind it, and was not decoded, belongs to it as well.
			return data[offset(data, layer.LayerContents()):]
		}
	}
	return nil
}

// offset is where a part of data begins.
func offset(data, part []byte) int { return cap(data) - cap(part) }
