package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"verdictd/internal/cli"
	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// deadlyKept files are kept; the oldest goes where there are more.
const deadlyKept = 16

// deadlyPattern is what their names look like.
const deadlyPattern = "deadly-*.pcap"

// OnDeadly is nfq.Config's: it tells of such a packet, and keeps it where the process has
// a folder for its state ($STATE_DIRECTORY, systemd.exec(5)).
func (k *Kept) OnDeadly(p *nfq.Packet) {
	k.log.Error("a packet has ended the daemon twice while it was judged: it is dropped", "queue", p.Queue, "bytes", p.Length(), "copied", len(p.Payload))
	folders := filepath.SplitList(os.Getenv("STATE_DIRECTORY"))
	if len(folders) == 0 {
		return
	}
	file, err := keepDeadly(folders[0], p)
	if err != nil {
		k.log.Error("the packet cannot be kept", "error", err)
		return
	}
	k.log.Warn("the packet is kept", "file", file)
}

// keepDeadly writes a packet that ended two processes to a file of its own, in a folder,
// and returns the file's name.
func keepDeadly(dir string, p *nfq.Packet) (file string, err error) {
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	now := time.Now()
	err = errors.Join(
		w.WriteFileHeader(vocabulary.MaxCopyRange, layers.LinkTypeRaw),
		w.WritePacket(gopacket.CaptureInfo{Timestamp: now, CaptureLength: len(p.Payload), Length: p.Length()}, p.Payload),
	)
	if err != nil {
		return "", fmt.Errorf("keep a deadly packet: %w", err)
	}
	file = filepath.Join(dir, fmt.Sprintf("deadly-%s-queue-%d.pcap", now.UTC().Format("20060102T150405.000000"), p.Queue))
	if err := cli.WriteFile(file, b.Bytes()); err != nil {
		return "", fmt.Errorf("keep a deadly packet: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, deadlyPattern))
	if err != nil {
		return file, err
	}
	slices.Sort(files)
	for ; len(files) > deadlyKept; files = files[1:] {
		if err := os.Remove(files[0]); err != nil { //nolint:gosec // of the daemon's own folder, by its own pattern
			return file, fmt.Errorf("remove the oldest deadly packet: %w", err)
		}
	}
	return file, nil
}
