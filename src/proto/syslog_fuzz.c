/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a message, whose fields must lie inside it and not overlap; as
 * structured data; and as a stream, which must give the same messages whole
 * and in pieces.  The first byte sets the limit of a message and the pieces.
 */
#include <assert.h>
#include <stdlib.h>

#include "proto/syslog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void mark(uint8_t *used, struct str message, struct str part)
{
	if (part.n == 0)
		return;
	assert(part.p >= message.p && part.p + part.n <= message.p + message.n);
	for (size_t i = 0; i < part.n; i++)
		assert(!used[part.p + i - message.p]++);
}

static void decode(struct str message)
{
	uint8_t *used = calloc(message.n + 1, 1);
	struct syslog_message m;
	struct syslog_data d;
	size_t n = 0;

	syslog_decode(&m, message, 1787306400000000000, 7200);
	assert(m.priority >= -1 && m.priority < 192);
	mark(used, message, m.text);
	if (m.kind == SYSLOG_PLAIN) {
		assert(m.priority < 0 && m.host.n + m.app.n + m.process.n + m.data.n == 0);
	} else {
		mark(used, message, m.time);
		mark(used, message, m.host);
		mark(used, message, m.app);
		mark(used, message, m.process);
		mark(used, message, m.sequence);
		mark(used, message, m.data);
		if (m.kind == SYSLOG_5424)
			mark(used, message, m.message_id);
	}
	free(used);
	syslog_data_start(&d, m.data.n ? m.data : message);
	while (syslog_data_next(&d))
		assert(++n <= message.n);
	assert(m.data.n == 0 || n > 0);
	syslog_data_fini(&d);
}

/* The messages of the stream, fed in pieces, each with its length in front. */
static void frames(struct str stream, size_t piece, size_t max, struct buf *out)
{
	struct buf in = {0};
	uint64_t skip = 0;
	size_t fed = 0;

	while (fed < stream.n || in.n > 0) {
		struct str message = STR_NONE;
		size_t n =
			skip ? syslog_skip(buf_view(&in), &skip)
			     : syslog_frame(buf_view(&in), max, fed == stream.n, &message, &skip);
		if (n == 0) {
			size_t more = stream.n - fed < piece ? stream.n - fed : piece;
			assert(more > 0 && in.n < max + SYSLOG_FRAME_MORE);
			buf_put(&in, stream.p + fed, more);
			fed += more;
			continue;
		}
		assert(n <= in.n && message.n <= max);
		if (message.n > 0) {
			buf_u64(out, message.n);
			buf_c(out, skip ? "+" : " ");
			buf_str(out, message);
		}
		buf_shift(&in, n);
	}
	buf_fini(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf whole = {0}, pieces = {0};
	size_t max, piece;

	decode(str_make(data, n));
	if (n == 0)
		return 0;
	max = 1 + data[0] % 64;
	piece = 1 + data[0] / 64 * 3;
	frames(str_make(data + 1, n - 1), n, max, &whole);
	frames(str_make(data + 1, n - 1), piece, max, &pieces);
	assert(str_eq(buf_view(&whole), buf_view(&pieces)));
	buf_fini(&whole);
	buf_fini(&pieces);
	return 0;
}
