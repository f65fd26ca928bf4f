package reassembly

// Ages are places, each free or taken, and those that are taken by their age.
type Ages struct {
	at                   []neighbours
	free, oldest, newest int32
}

// neighbours are the next older and the next newer place. Free ones hang together by newer.
type neighbours struct{ older, newer int32 }

// NewAges makes so many places, which are free.
func NewAges(n int) *Ages {
	a := &Ages{at: make([]neighbours, n), free: None, oldest: None, newest: None}
	for i := n - 1; i >= 0; i-- {
		a.at[i].newer, a.free = a.free, int32(i)
	}
	return a
}

// Take takes a free place, which is the newest then; None: there is none.
func (a *Ages) Take() int32 {
	i := a.free
	if i != None {
		a.free = a.at[i].newer
		a.push(i)
	}
	return i
}

// Give makes a place free.
func (a *Ages) Give(i int32) {
	a.unlink(i)
	a.at[i].newer, a.free = a.free, i
}

// Renew makes a place that is taken the newest.
func (a *Ages) Renew(i int32) {
	if i != a.newest {
		a.unlink(i)
		a.push(i)
	}
}

// Oldest is the place that was taken or renewed first; None: none is taken.
func (a *Ages) Oldest() int32 { return a.oldest }

func (a *Ages) push(i int32) {
	a.at[i] = neighbours{older: a.newest, newer: None}
	if a.newest == None {
		a.oldest = i
	} else {
		a.at[a.newest].newer = i
	}
	a.newest = i
}

func (a *Ages) unlink(i int32) {
	n := a.at[i]
	if n.older == None {
		a.oldest = n.newer
	} else {
		a.at[n.older].newer = n.newer
	}
	if n.newer == None {
		a.newest = n.older
	} else {
		a.at[n.newer].older = n.older
	}
}
