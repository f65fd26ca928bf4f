// SPDX-License-Identifier: Apache-2.0

/*
 * nfq_reference accepts every packet of one NFQUEUE, the way that
 * libnetfilter_queue's documentation shows: one recv, one nfq_handle_packet and
 * one nfq_set_verdict a packet. `lab bench` compares verdictd with it, so it
 * does nothing else that takes time on a packet, unless --delay asks for it: in
 * rows of `lab matrix` it stands for a program that thinks.
 *
 *	nfq_reference --queue N [--cpu N] [--max-length N] [--receive-buffer BYTES] [--delay MICROSECONDS] [--drop-port N ...]
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
#include <errno.h>
#include <getopt.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <libnetfilter_queue/libnetfilter_queue.h>

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

/* stop may run at any time: the kernel unbinds the queue of a process that is gone. */
static void stop(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "nfq_reference: %s: %s\n", what, strerror(errno));
	exit(1);
}

static _Noreturn void usage(void)
{
	fputs("usage: nfq_reference --queue N [--cpu N] [--max-length N] [--receive-buffer BYTES] [--delay MICROSECONDS] [--drop-port N ...]\n", stderr);
	exit(2);
}

/* number reads an option's value, which is at most `most`. */
static long number(const char *text, long most)
{
	char *end;

	errno = 0;
	long n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < 0 || n > most)
		usage();
	return n;
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

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) < 0)
		die("pin to the CPU");
}

/* prepare_socket gives it what verdictd's has: a large buffer, past net.core.rmem_max where that is allowed, and no
 * ENOBUFS. */
static void prepare_socket(int fd, int receive_buffer)
{
	int one = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof receive_buffer) < 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer) < 0)
		die("set the receive buffer");
	if (setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &one, sizeof one) < 0)
		die("set NETLINK_NO_ENOBUFS");
}

/* say_ready is sd_notify(3) for sockets that have a path. */
static void say_ready(void)
{
	static const char ready[] = "READY=1";
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	if (!path)
		return;
	if (strlen(path) >= sizeof to.sun_path) {
		errno = ENAMETOOLONG;
		die("NOTIFY_SOCKET");
	}
	strcpy(to.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, ready, strlen(ready), 0, (struct sockaddr *)&to, sizeof to) < 0)
		die("notify NOTIFY_SOCKET");
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"queue", required_argument, NULL, 'q'},
		{"cpu", required_argument, NULL, 'c'},
		{"max-length", required_argument, NULL, 'l'},
		{"receive-buffer", required_argument, NULL, 'b'},
		{"delay", required_argument, NULL, 'd'},
		{"drop-port", required_argument, NULL, 'p'},
		{0},
	};
	/* A packet is at most 64 KiB; the rest is headers and attributes. */
	static char buffer[0xffff + 4096] __attribute__((aligned(8)));
	struct sigaction action = {.sa_handler = stop};
	long queue_number = -1, cpu = -1, max_length = 0, receive_buffer = 8 << 20;
	int option;
	long micros;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'q': queue_number = number(optarg, UINT16_MAX); break;
		case 'c': cpu = number(optarg, CPU_SETSIZE - 1); break;
		case 'l': max_length = number(optarg, INT32_MAX); break;
		case 'b': receive_buffer = number(optarg, INT32_MAX); break;
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
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);

	struct nfq_handle *library = nfq_open();
	if (!library)
		die("open nfnetlink_queue");
	int fd = nfq_fd(library);
	prepare_socket(fd, (int)receive_buffer);
	struct nfq_q_handle *queue = nfq_create_queue(library, (uint16_t)queue_number, judge_packet, NULL);
	if (!queue)
		die("bind the queue");
	if (nfq_set_mode(queue, NFQNL_COPY_PACKET, 0xffff) < 0)
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
