/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The WebSocket opening handshake (RFC 6455, section 4), both sides.  Any thread. */
#include "base/buf.h"

enum { HANDSHAKE_ACCEPT = 29 }; /* bytes of a Sec-WebSocket-Accept with its terminator */

/* Is it base64 of 16 bytes, as Sec-WebSocket-Key must be? */
bool handshake_key_valid(struct str key);
/* Sec-WebSocket-Accept for the key, which has at most 24 bytes. */
void handshake_accept(char out[HANDSHAKE_ACCEPT], struct str key);
/* Does the comma-separated header value hold the token, in any case? */
bool handshake_has_token(struct str value, const char *token);
