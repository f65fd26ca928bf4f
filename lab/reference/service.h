// SPDX-License-Identifier: Apache-2.0

/*
 * What the reference programs have in common: how they begin and end, so that the packets' way is all that is in their
 * own files. Who includes it names itself in PROGRAM, and has usage().
 */

#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

static _Noreturn void usage(void);

static _Noreturn void die(const char *what)
{
	fprintf(stderr, PROGRAM ": %s: %s\n", what, strerror(errno));
	exit(1);
}

/* stop may run at any time: the kernel unbinds the queue of a process that is gone. */
static void stop(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

static void end_on_signals(void)
{
	struct sigaction action = {.sa_handler = stop};

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
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
