// SPDX-License-Identifier: Apache-2.0

/*
 * nfq_reference accepts every packet of one NFQUEUE, the way that
 * libnetfilter_queue's documentation shows: one recv, one nfq_handle_packet and
 * one nfq_set_verdict a packet. `lab bench` compares verdictd with it, so it
 * does nothing else that takes time on a packet, unless --delay asks for it: in
 * rows of `lab matrix` it stands for a program that thinks.
 *
 *	nfq_reference --queue N [--cpu N] [--max-length N] [--receive-buffer BYTES] [--copy-range BYTES] [--delay MICROSECONDS] [--drop-port N ...]
 *
 * --drop-port makes it drop what goes to a UDP port over IPv4, as the policy of verdictd does in `lab faults`.
 *
 * It says READY=1 on $NOTIFY_SOCKET when the queue is bound, and ends with
 * status 0 on SIGTERM and SIGINT.
 *
 *	cc -O2 -o nfq_reference nfq_reference.c -lnetfilter_queue -lnfnetlink
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <getopt.h>
#include <linux/netfilter.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <time.h>

#include <libnetfilter_queue/libnetfilter_queue.h>

#define PROGRAM "nfq_reference"
#include "service.h"

/* delay is how long each packet is thought about. */
static struct timespec delay;

/* drop_ports are UDP ports to which nothing is let through. */
static uint16_t drop_ports[8];
static size_t drop_port_count;

/* drops looks at a whole IPv4 packet. */
static int drops(struct nfq_data *data)
{
	unsigned char *p;
	int n = nfq_get_payload(data, &p);

	if (n < 20 || p[0] >> 4 != 4 || p[9] != IPPROTO_UDP)
		return 0;
	int header = (p[0] & 15) * 4;
	if (n < header + 4)
		return 0;
	for (size_t i = 0; i < drop_port_count; i++)
		if ((p[header + 2] << 8 | p[header + 3]) == drop_ports[i])
			return 1;
	return 0;
}

static _Noreturn void usage(void)
{
	fputs("usage: nfq_reference --queue N [--cpu N] [--max-length N] [--receive-buffer BYTES] [--copy-range BYTES] [--delay MICROSECONDS] [--drop-port N ...]\n", stderr);
	exit(2);
}

static int judge_packet(struct nfq_q_handle *queue, struct nfgenmsg *message, struct nfq_data *data, void *user)
{
	struct nfqnl_msg_packet_hdr *header = nfq_get_msg_packet_hdr(data);

	(void)message;
	(void)user;
	if (!header)
		return 0;
	if (delay.tv_sec || delay.tv_nsec)
		nanosleep(&delay, NULL);
	return nfq_set_verdict(queue, ntohl(header->packet_id), drop_port_count && drops(data) ? NF_DROP : NF_ACCEPT, 0, NULL);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"queue", required_argument, NULL, 'q'},
		{"cpu", required_argument, NULL, 'c'},
		{"max-length", required_argument, NULL, 'l'},
		{"receive-buffer", required_argument, NULL, 'b'},
		{"copy-range", required_argument, NULL, 'r'},
		{"delay", required_argument, NULL, 'd'},
		{"drop-port", required_argument, NULL, 'p'},
		{0},
	};
	/* A packet is at most 64 KiB; the rest is headers and attributes. */
	static char buffer[0xffff + 4096] __attribute__((aligned(8)));
	long queue_number = -1, cpu = -1, max_length = 0, receive_buffer = 8 << 20, copy_range = 0xffff;
	int option;
	long micros;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'q': queue_number = number(optarg, UINT16_MAX); break;
		case 'c': cpu = number(optarg, CPU_SETSIZE - 1); break;
		case 'l': max_length = number(optarg, INT32_MAX); break;
		case 'b': receive_buffer = number(optarg, INT32_MAX); break;
		case 'r': copy_range = number(optarg, 0xffff); break;
		case 'd':
			micros = number(optarg, 1000000000);
			delay.tv_sec = micros / 1000000;
			delay.tv_nsec = micros % 1000000 * 1000;
			break;
		case 'p':
			if (drop_port_count == sizeof drop_ports / sizeof *drop_ports)
				usage();
			drop_ports[drop_port_count++] = (uint16_t)number(optarg, UINT16_MAX);
			break;
		default: usage();
		}
	}
	if (queue_number < 0 || optind < argc)
		usage();
	if (cpu >= 0)
		pin((int)cpu);
	prctl(PR_SET_TIMERSLACK, 1UL); /* a delay ends when it is due, and not 50 us later */
	end_on_signals();

	struct nfq_handle *library = nfq_open();
	if (!library)
		die("open nfnetlink_queue");
	int fd = nfq_fd(library);
	prepare_socket(fd, (int)receive_buffer);
	struct nfq_q_handle *queue = nfq_create_queue(library, (uint16_t)queue_number, judge_packet, NULL);
	if (!queue)
		die("bind the queue");
	if (nfq_set_mode(queue, NFQNL_COPY_PACKET, (uint32_t)copy_range) < 0)
		die("set the copy mode");
	if (max_length && nfq_set_queue_maxlen(queue, (uint32_t)max_length) < 0)
		die("set the queue's length");
	say_ready();

	for (;;) {
		ssize_t n = recv(fd, buffer, sizeof buffer, 0);
		if (n < 0)
			die("receive");
		nfq_handle_packet(library, buffer, (int)n);
	}
}
