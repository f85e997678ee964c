/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses form, content type and encoding, the rest is the body.  A body that fails
 * tells no record, what is told keeps the limits, and auto takes what nobody gave a name to. */
#include <assert.h>

#include "proto/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MAX_LINE_BYTES = 64 };

struct seen {
	size_t n;
	size_t stop; /* end at this one */
};

static int see(void *arg, const struct message_record *r)
{
	struct seen *s = arg;

	assert(r->record.body.n <= MAX_LINE_BYTES);
	assert(r->record.meta.n == 0 || labels_check(r->record.meta, NULL) == 0);
	assert(r->labels.n == 0 || labels_check(r->labels, NULL) == 0);
	assert(r->record.severity <= 24);
	return ++s->n == s->stop ? ERR_CLOSED : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const types[] = {
		"", "application/json", "application/x-protobuf", "text/plain"};
	static const char *const encodings[] = {"", "gzip"};
	struct message_options o = {
		.max_line = MAX_LINE_BYTES, .max_body = 1 << 20, .detect_level = true};
	struct message m = {
		.observed_ns = INT64_C(1760000000000000000), .routing_key = STR("svc.Error")};
	struct message_decoder *d;
	struct seen seen = {0}, again = {.stop = 1};
	struct error e;
	int r, choice;

	if (n == 0)
		return 0;
	choice = data[0] % 48;
	o.form = choice % 6;
	m.content_type = str_c(types[choice / 6 % 4]);
	m.content_encoding = str_c(encodings[choice / 24]);
	m.body = str_make(data + 1, n - 1);
	d = message_decoder_new(&o);
	r = message_decode(d, &m, see, &seen, &e);
	assert(r == 0 || seen.n == 0);
	assert(r == 0 || r == ERR_ARG || r == ERR_LIMIT || r == ERR_CORRUPT);
	if (choice == MESSAGE_AUTO || choice == MESSAGE_PLAIN)
		assert(r == 0 && seen.n > 0);
	assert(message_decode(d, &m, see, &again, &e) == (seen.n ? ERR_CLOSED : r));
	message_decoder_free(d);
	return 0;
}
