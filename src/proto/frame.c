/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include <assert.h>

#include "codec/codec.h"

enum {
	MAGIC = 0x31464c53, /* "SLF1" */
	ZSTD_LEVEL = 3,
	SLACK_MAX = 16 << 10, /* bytes that a batch may hold besides its own */
	LZ4_RATIO = 255,      /* no block unpacks to more than this times its length */
};

struct envelope {
	uint32_t magic;
	uint8_t packing, zero[3];
	uint32_t length, crc;
};

_Static_assert(sizeof(struct envelope) == 16, "the layout in frame.h");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "envelopes are copied as they are");

void frame_write(struct buf *out, const struct batch *b, enum frame_packing packing)
{
	struct str bytes = batch_bytes(b);
	struct envelope envelope = {
		.magic = MAGIC,
		.packing = (uint8_t)packing,
		.length = (uint32_t)bytes.n,
		.crc = crc32c(0, bytes.p, bytes.n),
	};

	assert(packing == FRAME_PLAIN || packing == FRAME_LZ4 || packing == FRAME_ZSTD);
	buf_put(out, &envelope, sizeof envelope);
	if (packing == FRAME_LZ4)
		lz4_pack(out, bytes);
	else if (packing == FRAME_ZSTD)
		zstd_pack(out, bytes, ZSTD_LEVEL);
	else
		buf_str(out, bytes);
}

static int check_envelope(const struct envelope *v, size_t payload, struct error *e)
{
	if (v->magic != MAGIC)
		return error_set(e, ERR_CORRUPT, "bad magic 0x%08x", v->magic);
	if (v->packing > FRAME_ZSTD || v->zero[0] || v->zero[1] || v->zero[2])
		return error_set(e, ERR_CORRUPT, "unknown packing %u", v->packing);
	if (v->length > BATCH_BYTES_MAX)
		return error_set(e, ERR_LIMIT, "a batch of %u bytes, at most %d are taken",
			v->length, BATCH_BYTES_MAX);
	if (v->packing == FRAME_PLAIN && v->length != payload)
		return error_set(e, ERR_CORRUPT, "a batch of %u bytes, but a payload of %zu",
			v->length, payload);
	/* Before memory is taken for it. */
	if (v->packing == FRAME_LZ4 && v->length / LZ4_RATIO > payload)
		return error_set(e, ERR_CORRUPT, "%zu bytes of lz4 cannot hold a batch of %u",
			payload, v->length);
	return 0;
}

static int check_sum(const struct envelope *v, struct str bytes, struct error *e)
{
	if (crc32c(0, bytes.p, bytes.n) != v->crc)
		return error_set(e, ERR_CORRUPT, "bad checksum");
	return 0;
}

static int unpack(struct buf *out, const struct envelope *v, struct str payload, struct error *e)
{
	int r;

	if (v->packing == FRAME_PLAIN)
		buf_str(out, payload);
	else if (v->packing == FRAME_LZ4 && (r = lz4_unpack(out, payload, v->length, e)) < 0)
		return r;
	else if (v->packing == FRAME_ZSTD && (r = zstd_unpack(out, payload, v->length, e)) < 0)
		return r;
	if (out->n != v->length)
		return error_set(
			e, ERR_CORRUPT, "a batch of %u bytes unpacks to %zu", v->length, out->n);
	return check_sum(v, buf_view(out), e);
}

int frame_read(struct batch **out, struct str frame, struct error *e)
{
	struct envelope envelope;
	struct buf bytes = {0};
	struct str payload;
	int r;

	if (frame.n < sizeof envelope)
		return error_set(e, ERR_CORRUPT, "frame: %zu bytes are no envelope", frame.n);
	memcpy(&envelope, frame.p, sizeof envelope);
	payload = str_sub(frame, sizeof envelope, frame.n);
	if ((r = check_envelope(&envelope, payload.n, e)) < 0 ||
		(r = unpack(&bytes, &envelope, payload, e)) < 0 ||
		(r = batch_from_bytes(out, &bytes, e)) < 0) {
		buf_fini(&bytes);
		return error_wrap(e, r, "frame");
	}
	return 0;
}

size_t frame_length(struct str frame)
{
	struct envelope envelope;

	if (frame.n < sizeof envelope)
		return 0;
	memcpy(&envelope, frame.p, sizeof envelope);
	return envelope.length <= BATCH_BYTES_MAX ? envelope.length : 0;
}

int frame_take(struct batch **out, struct buf *frame, struct error *e)
{
	struct buf own = buf_take(frame);
	struct envelope envelope;
	int r;

	if (own.n >= sizeof envelope)
		memcpy(&envelope, own.p, sizeof envelope);
	/* A batch is charged for its bytes: memory that has much more is not kept. */
	if (own.n < sizeof envelope || envelope.packing != FRAME_PLAIN ||
		own.cap - own.n > SLACK_MAX) {
		r = frame_read(out, buf_view(&own), e);
		buf_fini(&own);
		return r;
	}
	if ((r = check_envelope(&envelope, own.n - sizeof envelope, e)) < 0 ||
		(r = check_sum(&envelope, str_sub(buf_view(&own), sizeof envelope, own.n), e)) <
			0 ||
		(r = batch_from_bytes_at(out, &own, sizeof envelope, e)) < 0) {
		buf_fini(&own);
		return error_wrap(e, r, "frame");
	}
	return 0;
}

void frame_prefix_write(char out[FRAME_PREFIX], size_t length, unsigned flags)
{
	uint32_t words[2] = {(uint32_t)length, flags};

	assert(length <= FRAME_BYTES_MAX);
	memcpy(out, words, FRAME_PREFIX);
}

int frame_prefix_read(const char in[FRAME_PREFIX], size_t *length, unsigned *flags, struct error *e)
{
	uint32_t words[2];

	memcpy(words, in, FRAME_PREFIX);
	if (words[0] > FRAME_BYTES_MAX)
		return error_set(e, ERR_LIMIT, "a frame of %u bytes, at most %d are taken",
			words[0], FRAME_BYTES_MAX);
	if (words[1] & ~(uint32_t)FRAME_ELSEWHERE)
		return error_set(e, ERR_CORRUPT, "a frame with unknown flags 0x%x", words[1]);
	*length = words[0];
	*flags = words[1];
	return 0;
}

static int status_of(int code)
{
	switch (code) {
	case 0: return 200;
	case ERR_GAP: return 409;
	case ERR_LIMIT: return 413;
	case ERR_ARG:
	case ERR_CORRUPT:
	case ERR_UNSUPPORTED: return 400;
	case ERR_DENIED: return 403;
	case ERR_BUSY: return 429;
	default: return 503;
	}
}

int frame_answer(struct buf *out, const struct sink_result *result)
{
	if (result->code >= 0) {
		buf_printf(out, "{\"committed\":%llu,\"duplicates\":%llu,\"seq\":%llu}",
			(unsigned long long)result->n_committed,
			(unsigned long long)result->n_duplicates,
			(unsigned long long)result->first_seq);
		return 200;
	}
	buf_char(out, '{');
	if (result->code == ERR_GAP)
		buf_printf(out, "\"mark\":%llu,", (unsigned long long)result->mark);
	buf_c(out, "\"error\":");
	buf_json(out, str_c(result->error.text));
	buf_char(out, '}');
	return status_of(result->code);
}
