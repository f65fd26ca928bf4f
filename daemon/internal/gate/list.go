package gate

// none ends a list.
const none int32 = -1

// A list is a doubly linked list through an array of links, which all lists of
// one kind share: a flow is in at most one of them.
type list struct {
	head, tail int32
	length     int
}

type link struct {
	prev, next int32
	in         bool
}

func newList() list { return list{head: none, tail: none} }

func (l *list) push(links []link, i int32) {
	links[i] = link{prev: l.tail, next: none, in: true}
	if l.tail == none {
		l.head = i
	} else {
		links[l.tail].next = i
	}
	l.tail = i
	l.length++
}

// remove takes i out, if it is in.
func (l *list) remove(links []link, i int32) {
	k := links[i]
	if !k.in {
		return
	}
	if k.prev == none {
		l.head = k.next
	} else {
		links[k.prev].next = k.next
	}
	if k.next == none {
		l.tail = k.prev
	} else {
		links[k.next].prev = k.prev
	}
	links[i] = link{}
	l.length--
}
