/* SPDX-License-Identifier: Apache-2.0 */
#include "net/handshake.h"

#include <assert.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "codec/codec.h"

bool handshake_key_valid(struct str key)
{
	if (key.n != 24 || !str_ends(key, STR("==")))
		return false;
	for (size_t i = 0; i < 22; i++) {
		char c = key.p[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
			c != '+' && c != '/')
			return false;
	}
	return true;
}

void handshake_accept(char out[HANDSHAKE_ACCEPT], struct str key)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char text[24 + sizeof guid];
	struct buf encoded = {0};
	unsigned char sum[20];
	int r;

	assert(key.n <= 24);
	memcpy(text, key.p, key.n);
	memcpy(text + key.n, guid, sizeof guid - 1);
	r = gnutls_hash_fast(GNUTLS_DIG_SHA1, text, key.n + sizeof guid - 1, sum);
	assert(r == 0);
	base64_put(&encoded, str_make(sum, sizeof sum));
	str_copy(buf_view(&encoded), out, HANDSHAKE_ACCEPT);
	buf_fini(&encoded);
}

bool handshake_has_token(struct str value, const char *token)
{
	while (value.p)
		if (str_eq_nocase(str_trim(str_cut(&value, ',')), str_c(token)))
			return true;
	return false;
}
