/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 2013: IV || AES-128-CBC(key, IV, SHA-256(text) || 0x80 || zeros): 64 bytes.
 * It covers the text alone; see loggregator_signature for what that leaves.
 * 2014: HMAC-SHA256(secret, envelope) || envelope.
 */
#include <nettle/aes.h>
#include <nettle/cbc.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>

#include "base/hash.h"
#include "proto/loggregator_core.h"

enum { PADDED = SIGN_2013 - SIGN_IV };

static void sha256(struct str s, uint8_t out[SIGN_DIGEST])
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, s.n, (const uint8_t *)s.p);
	sha256_digest(&ctx, SIGN_DIGEST, out);
}

/* The digest of the text with its padding. */
static void padded_digest(struct str text, uint8_t out[PADDED])
{
	sha256(text, out);
	memset(out + SIGN_DIGEST, 0, PADDED - SIGN_DIGEST);
	out[SIGN_DIGEST] = 0x80;
}

void loggregator_secret_init(struct loggregator_secret *s, struct str secret)
{
	uint8_t digest[SIGN_DIGEST];

	sha256(secret, digest);
	memcpy(s->key, digest, sizeof s->key);
	s->secret = secret;
	s->given = true;
	s->required = true;
}

bool loggregator_verify_2013(
	struct str signature, struct str text, const struct loggregator_secret *s)
{
	uint8_t iv[SIGN_IV], got[PADDED], expected[PADDED];
	struct aes128_ctx aes;

	if (signature.n != SIGN_2013)
		return false;
	memcpy(iv, signature.p, sizeof iv);
	aes128_set_decrypt_key(&aes, s->key);
	cbc_decrypt(&aes, (nettle_cipher_func *)aes128_decrypt, SIGN_IV, iv, PADDED, got,
		(const uint8_t *)signature.p + SIGN_IV);
	padded_digest(text, expected);
	return memeql_sec(got, expected, PADDED);
}

static void hmac(struct str bytes, const struct loggregator_secret *s, uint8_t out[SIGN_DIGEST])
{
	struct hmac_sha256_ctx ctx;

	hmac_sha256_set_key(&ctx, s->secret.n, (const uint8_t *)s->secret.p);
	hmac_sha256_update(&ctx, bytes.n, (const uint8_t *)bytes.p);
	hmac_sha256_digest(&ctx, SIGN_DIGEST, out);
}

bool loggregator_verify_dropsonde(struct str datagram, const struct loggregator_secret *s)
{
	uint8_t expected[SIGN_DIGEST];

	if (datagram.n <= SIGN_DIGEST)
		return false;
	hmac(str_sub(datagram, SIGN_DIGEST, datagram.n), s, expected);
	return memeql_sec(datagram.p, expected, SIGN_DIGEST);
}

void loggregator_sign_2013(struct buf *out, struct str app, struct str text, struct str message,
	const struct loggregator_secret *s)
{
	uint8_t signature[SIGN_2013], iv[SIGN_IV], padded[PADDED];
	struct aes128_ctx aes;

	hash_random(iv, sizeof iv);
	memcpy(signature, iv, sizeof iv);
	padded_digest(text, padded);
	aes128_set_encrypt_key(&aes, s->key);
	cbc_encrypt(&aes, (nettle_cipher_func *)aes128_encrypt, SIGN_IV, iv, PADDED,
		signature + SIGN_IV, padded);
	protobuf_put_bytes(out, LE_KEY, app);
	protobuf_put_bytes(out, LE_SIGNATURE, str_make(signature, sizeof signature));
	protobuf_put_bytes(out, LE_MESSAGE, message);
}

void loggregator_sign_dropsonde(
	struct buf *out, struct str envelope, const struct loggregator_secret *s)
{
	uint8_t digest[SIGN_DIGEST];

	hmac(envelope, s, digest);
	buf_put(out, digest, sizeof digest);
	buf_str(out, envelope);
}
