// SPDX-License-Identifier: MIT OR GPL-2.0-only
//
// This file alone has a licence of its own, see _license at its end.
//
// Programs for the entry and the exit of the kernel's functions that meet a clash. Which of them are attached, and to
// what, is decided by attach.go: one of the first two functions, and the third where the kernel has it.
//
//   nf_ct_resolve_clash()     static, but noinline since 5.6: called for each clash at confirm, and for nothing else
//   __nf_conntrack_confirm()  exported: called for each new entry. A clash shows in the entry that the packet has after it
//   nf_conntrack_update()     called for each packet that a queue gives back; its resolver (4.18 to 6.11) looks a packet
//                             with an unconfirmed entry up once more, and counts nowhere what it finds
//
// The structs are not the kernel's but say which members are used: preserve_access_index has the loader put in where the
// running kernel has them (CO-RE). So they need neither its headers nor its configuration.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define inline_always static inline __attribute__((always_inline))
#define once static __attribute__((noinline)) // a function of its own in the program, not a copy for each call
#define kernel_struct struct __attribute__((preserve_access_index))

// Helpers by their numbers in the kernel's interface (linux/bpf.h).
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static u32 (*const bpf_get_smp_processor_id)(void) = (void *)8;
static u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*const bpf_get_current_comm)(void *buf, u32 size) = (void *)16;
static u64 (*const bpf_get_current_task)(void) = (void *)35;
static long (*const bpf_probe_read_kernel)(void *dst, u32 size, const void *src) = (void *)113;
static long (*const bpf_ringbuf_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;

enum { MAP_HASH = 1, MAP_PERCPU_ARRAY = 6, MAP_RINGBUF = 27 };
#define map_type(n) int (*type)[n]
#define map_room(n) int (*max_entries)[n]

// What of the kernel's structs is used.

union nf_inet_addr {
	u32 all[4];
} __attribute__((preserve_access_index));

union nf_conntrack_man_proto {
	u16 all;
} __attribute__((preserve_access_index));

kernel_struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
	u16 l3num;
};

kernel_struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			u16 all;
		} u;
		u8 protonum;
		u8 dir;
	} dst;
};

kernel_struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
};

kernel_struct nf_conntrack_zone {
	u16 id;
};

kernel_struct ns_common {
	u32 inum;
};

kernel_struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} __attribute__((preserve_access_index)) possible_net_t;

kernel_struct nf_conn {
	struct nf_conntrack_zone zone; // CONFIG_NF_CONNTRACK_ZONES
	struct nf_conntrack_tuple_hash tuplehash[2];
	unsigned long status;
	possible_net_t ct_net;
	u32 mark; // CONFIG_NF_CONNTRACK_MARK
};

kernel_struct sk_buff {
	unsigned long _nfct; // the entry, and in its lowest three bits enum ip_conntrack_info
	u32 mark;
};

// What user space gets; event.go decodes it, and a test there compares the layouts.

struct tuple {
	u8 src[16], dst[16];
	u16 src_port, dst_port; // as in the packet
	u16 family;
	u8 protocol;
	u8 unused;
};

struct entry {
	u64 address; // 0: not known
	u64 status;
	u32 mark;
	u32 zone;
	struct tuple original, reply;
};

enum path { RESOLVER = 1, CONFIRM = 2, REINJECTION = 3 };

struct clash {
	u64 time; // CLOCK_MONOTONIC
	u64 skb;
	u64 after; // the entry that the packet has in the end
	struct entry loser;
	struct entry winner;
	u32 netns;
	u32 mark; // the packet's
	u32 pid, tid, cpu;
	s32 result; // of the kernel's function
	u8 path;
	u8 ctinfo, ctinfo_after;
	u8 unused[5];
	char comm[16];
};

struct clash *clash_for_btf __attribute__((unused)); // or the compiler leaves the type out of the object

// Set before the programs are loaded.

const volatile u32 only_netns = 0; // 0: all
// Where in the registers that a kprobe gets (struct pt_regs) the first two arguments and the result are.
const volatile u32 argument_1 = 0, argument_2 = 0, returned = 0;

enum { NF_DROP = 0, NF_VERDICT_MASK = 0xff };
enum { IPS_CONFIRMED = 1 << 3 };
// Set in an entry that was inserted for the reply direction only (5.6). It is the bit of IPS_UNTRACKED, which had none
// of its own since 4.12.
enum { IPS_NAT_CLASH = 1 << 12 };
#define CTINFO 7UL

// Calls that have begun and not ended. One task makes a call; the idle tasks of the CPUs differ in their address, not in
// their number. A softirq may come in between and call on behalf of the task that it interrupted: its packet tells the two
// apart. The exit of a kretprobe does not know the packet, so there the outer call is forgotten, and counted.
struct call {
	u64 task;
	u64 skb; // 0 in kprobes
	u64 path;
};

struct {
	map_type(MAP_HASH);
	map_room(4096);
	struct call *key;
	struct clash *value;
} calls SEC(".maps");

struct {
	map_type(MAP_RINGBUF);
	map_room(1 << 20); // attach.go sets it
} clashes SEC(".maps");

enum count { SEEN, LOST, UNFINISHED, NO_ROOM, COUNTS };

struct {
	map_type(MAP_PERCPU_ARRAY);
	map_room(COUNTS);
	u32 *key;
	u64 *value;
} counts SEC(".maps");

static const struct clash blank; // a clash and a key leave too little of the stack's 512 bytes

inline_always void count(u32 which)
{
	u64 *n = bpf_map_lookup_elem(&counts, &which);

	if (n)
		__sync_fetch_and_add(n, 1);
}

#define read(dst, src) bpf_probe_read_kernel(&(dst), sizeof(dst), &(src))

inline_always void read_tuple(struct tuple *to, const struct nf_conntrack_tuple *from)
{
	read(to->src, from->src.u3);
	read(to->dst, from->dst.u3);
	read(to->src_port, from->src.u.all);
	read(to->dst_port, from->dst.u.all);
	read(to->family, from->src.l3num);
	read(to->protocol, from->dst.protonum);
}

inline_always u64 read_status(const struct nf_conn *ct)
{
	unsigned long status = 0;

	read(status, ct->status);
	return status;
}

once void read_entry(struct entry *to, const struct nf_conn *ct)
{
	to->address = (u64)ct;
	to->status = read_status(ct);
	to->mark = 0;
	if (__builtin_preserve_field_info(ct->mark, 2 /* exists */))
		read(to->mark, ct->mark);
	to->zone = 0;
	if (__builtin_preserve_field_info(ct->zone, 2 /* exists */)) {
		u16 zone = 0;

		read(zone, ct->zone.id);
		to->zone = zone;
	}
	read_tuple(&to->original, &ct->tuplehash[0].tuple);
	read_tuple(&to->reply, &ct->tuplehash[1].tuple);
}

inline_always u64 read_nfct(const struct sk_buff *skb)
{
	unsigned long nfct = 0;

	read(nfct, skb->_nfct);
	return nfct;
}

once u32 read_netns(const struct nf_conn *ct)
{
	struct net *net = 0;
	u32 inum = 0;

	if (__builtin_preserve_field_info(ct->ct_net.net, 2 /* exists */)) { // CONFIG_NET_NS
		read(net, ct->ct_net.net);
		read(inum, net->ns.inum);
	}
	return inum;
}

// skb_key is the packet's address where the exit knows it as well, else 0.
once void enter(u8 path, u64 skb_key, const struct sk_buff *skb, const struct nf_conntrack_tuple_hash *hash)
{
	struct call call = { bpf_get_current_task(), skb_key, path };
	const struct nf_conntrack_tuple_hash *original;
	const struct nf_conn *ct, *winner;
	struct clash *c;
	u64 nfct, id;
	u32 netns;

	if (bpf_map_lookup_elem(&calls, &call)) {
		count(UNFINISHED);
		bpf_map_delete_elem(&calls, &call);
	}
	nfct = read_nfct(skb);
	ct = (const struct nf_conn *)(nfct & ~CTINFO);
	if (!ct || read_status(ct) & IPS_CONFIRMED)
		return;
	netns = read_netns(ct);
	if (only_netns && netns != only_netns)
		return;
	if (bpf_map_update_elem(&calls, &call, &blank, 0)) {
		count(NO_ROOM);
		return;
	}
	c = bpf_map_lookup_elem(&calls, &call);
	if (!c)
		return;

	c->time = bpf_ktime_get_ns();
	c->skb = (u64)skb;
	c->path = path;
	c->ctinfo = nfct & CTINFO;
	c->netns = netns;
	read(c->mark, skb->mark);
	read_entry(&c->loser, ct);
	if (hash) { // an element of the winner's tuplehash: which of the two, its tuple says
		u8 direction = 0;

		read(direction, hash->tuple.dst.dir);
		original = hash;
		if (direction)
			original = (const void *)((u64)hash - __builtin_preserve_type_info(*hash, 1 /* size */));
		winner = (const void *)((u64)original - __builtin_preserve_field_info(ct->tuplehash, 0 /* offset */));
		read_entry(&c->winner, winner);
	}
	id = bpf_get_current_pid_tgid();
	c->pid = id >> 32;
	c->tid = id;
	c->cpu = bpf_get_smp_processor_id();
	bpf_get_current_comm(c->comm, sizeof(c->comm));
}

once void leave(u8 path, u64 skb_key, s32 result)
{
	struct call call = { bpf_get_current_task(), skb_key, path };
	const struct nf_conn *after;
	struct clash *c, *outer;
	u64 nfct;
	int clashed;

	c = bpf_map_lookup_elem(&calls, &call);
	if (!c)
		return; // not of this namespace, or its entry was in the table already
	nfct = read_nfct((const struct sk_buff *)c->skb);
	after = (const struct nf_conn *)(nfct & ~CTINFO);
	c->result = result;
	c->after = (u64)after;
	c->ctinfo_after = nfct & CTINFO;

	switch (path) {
	case CONFIRM: // a packet is dropped for other reasons, too: user space says so
		clashed = c->after != c->loser.address || (after && read_status(after) & IPS_NAT_CLASH) ||
			  (result & NF_VERDICT_MASK) == NF_DROP;
		break;
	case REINJECTION:
		clashed = c->after != c->loser.address;
		break;
	default:
		clashed = 1;
	}
	if (clashed) {
		if (!c->winner.address && after && c->after != c->loser.address)
			read_entry(&c->winner, after);
		count(SEEN);
		if (bpf_ringbuf_output(&clashes, c, sizeof(*c), 0))
			count(LOST);
	}
	// An entry with a helper in user space is confirmed within the re-injection: a clash there is that of the confirm.
	if (path != REINJECTION) {
		struct call reinjection = { call.task, skb_key, REINJECTION };

		outer = bpf_map_lookup_elem(&calls, &reinjection);
		if (outer)
			outer->loser.address = (u64)after;
	}
	bpf_map_delete_elem(&calls, &call);
}

// fentry and fexit: the arguments, and behind them the result, are an array of 64-bit values.
// kprobe and kretprobe: the registers. What is read through them is checked by bpf_probe_read_kernel.

inline_always u64 reg(const void *registers, u32 offset)
{
	u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (const void *)((u64)registers + offset));
	return value;
}

SEC("fentry/nf_ct_resolve_clash") int resolver_fentry(const u64 *args)
{
	enter(RESOLVER, args[0], (const void *)args[0], (const void *)args[1]);
	return 0;
}

SEC("fexit/nf_ct_resolve_clash") int resolver_fexit(const u64 *args)
{
	leave(RESOLVER, args[0], args[3]);
	return 0;
}

SEC("kprobe") int resolver_kprobe(const void *registers)
{
	enter(RESOLVER, 0, (const void *)reg(registers, argument_1), (const void *)reg(registers, argument_2));
	return 0;
}

SEC("kprobe") int resolver_kretprobe(const void *registers)
{
	leave(RESOLVER, 0, reg(registers, returned));
	return 0;
}

SEC("fentry/__nf_conntrack_confirm") int confirm_fentry(const u64 *args)
{
	enter(CONFIRM, args[0], (const void *)args[0], 0);
	return 0;
}

SEC("fexit/__nf_conntrack_confirm") int confirm_fexit(const u64 *args)
{
	leave(CONFIRM, args[0], args[1]);
	return 0;
}

SEC("kprobe") int confirm_kprobe(const void *registers)
{
	enter(CONFIRM, 0, (const void *)reg(registers, argument_1), 0);
	return 0;
}

SEC("kprobe") int confirm_kretprobe(const void *registers)
{
	leave(CONFIRM, 0, reg(registers, returned));
	return 0;
}

SEC("fentry/nf_conntrack_update") int reinjection_fentry(const u64 *args)
{
	enter(REINJECTION, args[1], (const void *)args[1], 0);
	return 0;
}

SEC("fexit/nf_conntrack_update") int reinjection_fexit(const u64 *args)
{
	leave(REINJECTION, args[1], args[2]);
	return 0;
}

SEC("kprobe") int reinjection_kprobe(const void *registers)
{
	enter(REINJECTION, 0, (const void *)reg(registers, argument_2), 0);
	return 0;
}

SEC("kprobe") int reinjection_kretprobe(const void *registers)
{
	leave(REINJECTION, 0, reg(registers, returned));
	return 0;
}

// bpf_probe_read_kernel and bpf_get_current_task are for programs under a licence compatible with the GPL only, as the
// kernel sees it: Apache-2.0, the project's, is not in its list (linux/license.h). So this file, which nothing else of the
// project is compiled or linked with, is offered under both of these.
char _license[] SEC("license") = "Dual MIT/GPL";
