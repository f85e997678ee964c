/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Sockets of listeners, by the scheme of their address (see net/listener.h). */
#include <sys/socket.h>

#include "base/error.h"
#include "base/str.h"

enum socket_kind { SOCKET_UDP, SOCKET_TCP, SOCKET_TLS, SOCKET_UNIX, SOCKET_UNIX_DGRAM };

/* False for another scheme; *rest is what follows it. */
bool socket_kind_of(struct str address, enum socket_kind *out, struct str *rest);
static inline bool socket_is_datagram(enum socket_kind k)
{
	return k == SOCKET_UDP || k == SOCKET_UNIX_DGRAM;
}
/* Bound, non-blocking, and listening where it is of connections.  `mode` is of a unix socket: the
 * file of a process that is gone is replaced.  ERR_ARG, ERR_NET with address and reason. */
int socket_listen(int *out, const char *address, unsigned mode, struct error *e);
unsigned socket_port(int fd); /* 0 for unix */
/* Ask for a receive buffer of so many bytes, beyond the system's limit where allowed; returns how
 * many there are. */
uint64_t socket_set_receive_buffer(int fd, uint64_t bytes);
/* Datagrams that the kernel has dropped since the socket was made, as a 32-bit counter. */
uint32_t socket_drops(int fd);
/* Bytes that came over a TCP connection; its end counts as one. */
uint64_t socket_received(int fd);
/* Send small pieces at once: an answer in two of them would else wait for the peer's delayed
 * acknowledgement, 40 ms. */
void socket_no_delay(int fd);
/* Notice a peer that is gone without a word within 30 s. */
void socket_keep_alive(int fd);
#define SOCKET_PEER_MAX 64
/* "127.0.0.1:5514", "[::1]:5514", "" for others. */
void socket_peer_text(const struct sockaddr *a, char out[SOCKET_PEER_MAX]);
