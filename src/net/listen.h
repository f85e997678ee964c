/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Listening TCP sockets. */
#include "base/error.h"

/* Listen on "host:port" or "[v6]:port", port 0 picks one: a non-blocking socket and its port.
 * ERR_ARG for an address that makes no sense, else ERR_NET. */
int listen_open(int *out, unsigned *port, const char *address, struct error *e);
