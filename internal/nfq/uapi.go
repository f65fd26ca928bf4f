package nfq

// Numbers of include/uapi/linux/netfilter/nfnetlink_queue.h and
// nfnetlink_conntrack.h that golang.org/x/sys/unix lacks.
const (
	nfqnlMsgPacket       = 0
	nfqnlMsgVerdict      = 1
	nfqnlMsgConfig       = 2
	nfqnlMsgVerdictBatch = 3

	nfqaPacketHdr     = 1
	nfqaVerdictHdr    = 2
	nfqaMark          = 3
	nfqaIfindexIndev  = 5
	nfqaIfindexOutdev = 6
	nfqaPayload       = 10
	nfqaCT            = 11
	nfqaCTInfo        = 12
	nfqaCapLen        = 13
	nfqaSkbInfo       = 14
	nfqaUID           = 16
	nfqaGID           = 17

	nfqaCfgCmd         = 1
	nfqaCfgParams      = 2
	nfqaCfgQueueMaxLen = 3
	nfqaCfgMask        = 4
	nfqaCfgFlags       = 5

	cfgCmdBind   = 1
	cfgCmdUnbind = 2
	cfgCmdPFBind = 3

	copyMeta   = 1
	copyPacket = 2

	cfgFailOpen  = 1 << 0
	cfgConntrack = 1 << 1
	cfgGSO       = 1 << 2
	cfgUIDGID    = 1 << 3

	skbCsumNotReady = 1 << 0
	skbGSO          = 1 << 1

	ctaStatus    = 3
	ctaMark      = 8
	ctaMarkMask  = 21
	ipsConfirmed = 1 << 3
)
