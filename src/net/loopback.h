/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which hosts are this machine, as configurations, URLs and peers' addresses
 * spell them.  Nothing is looked up: of names only "localhost" is.  Pure; any thread.
 */
#include "base/str.h"

/* "localhost", 127.0.0.0/8, "::1", "[::1]"; without a port.  A name that only begins like an
 * address ("127.example.com") is none. */
bool loopback_host(struct str host);
/* The same of "host:port". */
bool loopback_host_port(struct str text);
/* The same of a peer's address without a port, which is empty for unix sockets and pipes. */
bool loopback_peer(struct str ip);
