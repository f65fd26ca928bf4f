package vocabulary

// Backend receives packets and sends verdicts.
type Backend string

// Batches on a netlink socket, and the go-nfqueue library for comparison.
const (
	BackendMmsg      Backend = "mmsg"
	BackendGoNFQueue Backend = "gonfqueue"
)

// Values lists the backends.
func (Backend) Values() []string { return words(BackendMmsg, BackendGoNFQueue) }
