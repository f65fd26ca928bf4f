// SPDX-License-Identifier: Apache-2.0

/*
 * send_reference sends UDP datagrams by sendmmsg as fast as it can, and does nothing else: no stamps, no checksums, no
 * account. `lab bench send` compares stress flood with it.
 *
 *	send_reference --target IPV4 --port N --packets N [--size N] [--batch N] [--flows N] [--cpu N]
 *
 * Each flow is a connected socket; they take turns of one batch. A datagram that the kernel refuses ends it with status 1.
 *
 *	cc -O2 -o send_reference send_reference.c
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { max_batch = 1024, max_flows = 1024, max_size = 65507 };

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "send_reference: %s: %s\n", what, strerror(errno));
	exit(1);
}

static _Noreturn void usage(void)
{
	fputs("usage: send_reference --target IPV4 --port N --packets N [--size N] [--batch N] [--flows N] [--cpu N]\n", stderr);
	exit(2);
}

/* number reads an option's value, which is from `least` to `most`. */
static long number(const char *text, long least, long most)
{
	char *end;

	errno = 0;
	long n = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || n < least || n > most)
		usage();
	return n;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"target", required_argument, NULL, 't'}, {"port", required_argument, NULL, 'p'},
		{"packets", required_argument, NULL, 'n'}, {"size", required_argument, NULL, 's'},
		{"batch", required_argument, NULL, 'b'}, {"flows", required_argument, NULL, 'f'},
		{"cpu", required_argument, NULL, 'c'}, {NULL, 0, NULL, 0},
	};
	static struct mmsghdr messages[max_batch];
	static char payload[max_size];
	static int sockets[max_flows];
	struct sockaddr_in target = {.sin_family = AF_INET};
	long packets = 0, size = 64, batch = 64, flows = 8, cpu = -1;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 't':
			if (inet_pton(AF_INET, optarg, &target.sin_addr) != 1)
				usage();
			break;
		case 'p':
			target.sin_port = htons((uint16_t)number(optarg, 1, UINT16_MAX));
			break;
		case 'n':
			packets = number(optarg, 1, 1000000000);
			break;
		case 's':
			size = number(optarg, 0, max_size);
			break;
		case 'b':
			batch = number(optarg, 1, max_batch);
			break;
		case 'f':
			flows = number(optarg, 1, max_flows);
			break;
		case 'c':
			cpu = number(optarg, 0, CPU_SETSIZE - 1);
			break;
		default:
			usage();
		}
	}
	if (packets == 0 || target.sin_port == 0 || optind != argc)
		usage();
	if (cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((int)cpu, &set);
		if (sched_setaffinity(0, sizeof set, &set) != 0)
			die("pin to the CPU");
	}
	for (long i = 0; i < flows; i++) {
		sockets[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (sockets[i] < 0 || connect(sockets[i], (struct sockaddr *)&target, sizeof target) != 0)
			die("open a socket");
	}
	struct iovec piece = {.iov_base = payload, .iov_len = (size_t)size};
	for (long i = 0; i < batch; i++) {
		messages[i].msg_hdr.msg_iov = &piece;
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	for (long sent = 0, turn = 0; sent < packets; turn = (turn + 1) % flows) {
		long want = packets - sent < batch ? packets - sent : batch;

		for (long done = 0; done < want;) {
			int n = sendmmsg(sockets[turn], messages + done, (unsigned)(want - done), 0);

			if (n < 0 && errno != EINTR)
				die("send");
			done += n > 0 ? n : 0;
		}
		sent += want;
	}
	return 0;
}
