package vocabulary

import (
	"fmt"
	"regexp"
)

// Limits of the kernel's.
const (
	// MaxQueue is the last queue number.
	MaxQueue = 0xffff
	// DefaultQueueLength is how many packets a queue holds that was not told a number
	// (NFQNL_QMAX_DEFAULT).
	DefaultQueueLength = 1024
	// MaxCopyRange is how much of a packet a message brings at most: what fits a
	// netlink attribute, whose length is 16 bits with its header
	// (NFQNL_MAX_COPY_RANGE).
	MaxCopyRange = 0xffff - 4
	// MaxBatch is how many messages one call takes (UIO_MAXIOV).
	MaxBatch = 1024

	// MaxTableName is NFT_TABLE_MAXNAMELEN, less the zero byte, of kernels
	// before 4.14 (e46abbcc05aa).
	MaxTableName = 31
)

// SampleBytes is how much of a packet a sample of a rule has (policy.samples).
const SampleBytes = 2048

// tableName is what nft accepts as a name without quotes.
var tableName = regexp.MustCompile(`^[a-zA-Z_.][a-zA-Z0-9/_.-]*$`)

// CheckTableName refuses what cannot be the name of a table.
func CheckTableName(name string) error {
	if len(name) > MaxTableName || !tableName.MatchString(name) {
		return fmt.Errorf("%q is no table name: begin with a letter, _ or . and go on with letters, digits and _ . / -, %d at most", name, MaxTableName)
	}
	return nil
}
