// SPDX-License-Identifier: Apache-2.0

/*
 * nfq_floor is the least that a program can do for a packet of an NFQUEUE: receive many at once, look for nothing but
 * the last one's id, and accept all up to it with one message. What `lab bench queue` finds for it is what the kernel
 * takes by itself; a program that looks at packets cannot be below it.
 *
 *	nfq_floor --queue N [--cpu N] [--max-length N] [--receive-buffer BYTES] [--copy-range BYTES]
 *
 * It says READY=1 on $NOTIFY_SOCKET when the queue is bound, and ends with status 0 on SIGTERM and SIGINT.
 *
 *	cc -O2 -o nfq_floor nfq_floor.c
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <getopt.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <stdint.h>

#define PROGRAM "nfq_floor"
#include "service.h"

/* What verdictd has by default: packets a call, and room for one of 64 KiB with its attributes. */
enum { batch = 64, room = 0xffff + 4096 };

static int fd;
static uint16_t queue_number;

/* message begins one to the queue subsystem, with one attribute; it is sent at once. */
static void send_message(uint16_t type, uint16_t flags, uint16_t attribute, const void *data, uint16_t length)
{
	static struct {
		struct nlmsghdr head;
		struct nfgenmsg queue;
		struct nlattr attribute;
		char data[16];
	} m;

	m.head.nlmsg_len = (uint32_t)(sizeof m - sizeof m.data + NLMSG_ALIGN(length));
	m.head.nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type);
	m.head.nlmsg_flags = NLM_F_REQUEST | flags;
	m.queue.res_id = htons(queue_number);
	m.attribute.nla_len = (uint16_t)(NLA_HDRLEN + length);
	m.attribute.nla_type = attribute;
	memcpy(m.data, data, length);
	if (send(fd, &m, m.head.nlmsg_len, 0) < 0)
		die("send");
}

/* configure has the kernel answer, as a queue may be another's. */
static void configure(uint16_t attribute, const void *data, uint16_t length)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char more[256];
	} answer;

	send_message(NFQNL_MSG_CONFIG, NLM_F_ACK, attribute, data, length);
	if (recv(fd, &answer, sizeof answer, 0) < 0)
		die("receive");
	errno = -answer.error.error;
	if (answer.head.nlmsg_type != NLMSG_ERROR || errno)
		die("configure the queue");
}

static _Noreturn void usage(void)
{
	fputs("usage: nfq_floor --queue N [--cpu N] [--max-length N] [--receive-buffer BYTES] [--copy-range BYTES]\n", stderr);
	exit(2);
}

/* accept_all does not return. The first attribute of a packet's message is its header, which begins with its id. */
static _Noreturn void accept_all(void)
{
	static char buffers[batch][room] __attribute__((aligned(8)));
	static struct mmsghdr messages[batch];
	static struct iovec parts[batch];

	for (int i = 0; i < batch; i++) {
		parts[i] = (struct iovec){buffers[i], room};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	}
	for (;;) {
		int n = recvmmsg(fd, messages, batch, MSG_WAITFORONE, NULL);
		if (n < 1)
			die("receive");
		if (((const struct nlmsghdr *)buffers[n - 1])->nlmsg_type == NLMSG_ERROR)
			die("verdict");
		const char *last = buffers[n - 1] + NLMSG_HDRLEN + sizeof(struct nfgenmsg) + NLA_HDRLEN;
		struct nfqnl_msg_verdict_hdr verdict = {htonl(NF_ACCEPT), ((const struct nfqnl_msg_packet_hdr *)last)->packet_id};
		send_message(NFQNL_MSG_VERDICT_BATCH, 0, NFQA_VERDICT_HDR, &verdict, sizeof verdict);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"queue", required_argument, NULL, 'q'},
		{"cpu", required_argument, NULL, 'c'},
		{"max-length", required_argument, NULL, 'l'},
		{"receive-buffer", required_argument, NULL, 'b'},
		{"copy-range", required_argument, NULL, 'r'},
		{0},
	};
	long queue = -1, cpu = -1, max_length = 0, receive_buffer = 8 << 20, copy_range = 0xffff;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'q': queue = number(optarg, UINT16_MAX); break;
		case 'c': cpu = number(optarg, CPU_SETSIZE - 1); break;
		case 'l': max_length = number(optarg, INT32_MAX); break;
		case 'b': receive_buffer = number(optarg, INT32_MAX); break;
		case 'r': copy_range = number(optarg, 0xffff); break;
		default: usage();
		}
	}
	if (queue < 0 || optind < argc)
		usage();
	queue_number = (uint16_t)queue;
	if (cpu >= 0)
		pin((int)cpu);
	end_on_signals();
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (fd < 0)
		die("open nfnetlink");
	prepare_socket(fd, (int)receive_buffer);

	struct nfqnl_msg_config_cmd bind_queue = {.command = NFQNL_CFG_CMD_BIND};
	struct nfqnl_msg_config_params copied = {htonl((uint32_t)copy_range), NFQNL_COPY_PACKET};
	uint32_t length = htonl((uint32_t)max_length);
	configure(NFQA_CFG_CMD, &bind_queue, sizeof bind_queue);
	if (max_length)
		configure(NFQA_CFG_QUEUE_MAXLEN, &length, sizeof length);
	configure(NFQA_CFG_PARAMS, &copied, sizeof copied);
	say_ready();
	accept_all();
}
