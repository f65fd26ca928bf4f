/* getent ahosts NAME, of any C library: musl's resolver behind `stress dns --client getaddrinfo`, which takes the getent
 * that PATH finds first:
 *
 *     musl-gcc -static -O2 -o musl/getent lab/reference/getent.c
 */
#include <netdb.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM, .ai_flags = AI_ADDRCONFIG }, *list;
	char address[NI_MAXHOST];

	if (argc != 3 || strcmp(argv[1], "ahosts")) {
		fprintf(stderr, "usage: getent ahosts NAME\n");
		return 1;
	}
	if (getaddrinfo(argv[2], NULL, &hints, &list))
		return 2; /* as getent says that there is none */
	for (; list; list = list->ai_next) {
		if (getnameinfo(list->ai_addr, list->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST))
			return 1;
		printf("%s\n", address);
	}
	return 0;
}
