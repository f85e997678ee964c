/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A valid payload with what the bytes say changed, read and filtered in full.
 * The first byte: odd, the contents of chunks are changed and their checksums
 * made right again, so that what decodes them is reached; even, the stored bytes
 * are, and then every answer is an error or right.  Then for each change two bytes
 * of place and one of what is added there.
 */
#include "store/lines/read_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { ROWS = 700, CHANGES_MAX = 64 };

static struct read_model m; /* made once */

/* Bytes n .. n + size of all chunks together are changed as the changes say. */
static void change(struct buf *b, size_t first, size_t all, const uint8_t *data, size_t n)
{
	for (size_t i = 0; i + 3 <= n && i < 3 * CHANGES_MAX; i += 3) {
		size_t at = (((size_t)data[i] << 8 | data[i + 1]) * all) >> 16;
		if (at >= first && at < first + b->n)
			b->p[at - first] = (char)(b->p[at - first] + data[i + 2]);
	}
}

/* The payload again, with its chunks changed. */
static void rebuild(const uint8_t *data, size_t n, struct buf *out)
{
	struct payload p;
	struct buf chunks = {0}, raw = {0};
	size_t head, all = 0, at = 0;

	if (payload_head(buf_view(&m.payload), m.payload.n, &head, NULL) < 0 ||
		payload_decode(&p, str_make(m.payload.p, head), m.payload.n, m.n, m.pointers,
			m.n_templates, NULL) < 0)
		abort();
	for (uint32_t i = 0; i < p.n_chunks; i++)
		all += p.chunks[i].raw;
	for (uint32_t i = 0; i < p.n_chunks; i++) {
		struct payload_chunk *c = &p.chunks[i];
		buf_clear(&raw);
		if (payload_unpack(c, str_make(m.payload.p + c->at, c->stored), &raw, NULL) < 0)
			abort();
		change(&raw, at, all, data, n);
		at += raw.n;
		payload_pack(c, buf_view(&raw), 0, 1, &chunks);
	}
	payload_encode(&p, p.first[p.n_templates], 1, out);
	buf_str(out, buf_view(&chunks));
	payload_fini(&p);
	buf_fini(&chunks);
	buf_fini(&raw);
}

/* One question; `right`: an answer must be right. */
static void ask(struct lines_reader *r, const struct line_filter *f, bool right)
{
	static uint32_t asked[ROWS], pick[ROWS];
	static struct str got[ROWS];
	size_t n = 0, n_asked;
	struct error e;

	for (uint32_t i = 0; i < ROWS; i += f->negate ? 3 : 1)
		asked[n++] = i;
	n_asked = n;
	memcpy(pick, asked, n * sizeof *pick);
	if (model_ask(&m, r, f, 1, pick, &n, got, &e) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < got[pick[i]].n; k++)
			m.seed += (uint8_t)got[pick[i]].p[k]; /* every byte is there */
	if (right && !model_agrees(&m, f, 1, asked, n_asked, pick, n, got))
		abort();
}

static void ask_all(struct buf *payload, bool right)
{
	static const char *const texts[] = {
		"", "blk_-70000000000000", "10.0.0.1", "12", "1B2", "rare", "req-0", "timeout"};
	struct lines_reader *r = lines_reader_new();
	struct lines_source s = model_source(&m, payload);
	struct account a;
	struct regex *regex;

	account_init(&a, "fuzz", 64 << 20, NULL);
	s.account = &a;
	if (regex_new(&regex, STR("[a-f][0-9]{2}|ERR"), false, NULL) < 0)
		abort();
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct line_test test = {.text = str_c(texts[i]), .regex = i == 3 ? regex : NULL};
		struct line_filter f = {.tests = &test, .n = 1, .negate = i % 2};
		if (i % 3 == 0 && lines_open(r, &s, NULL) < 0)
			break;
		ask(r, &f, right);
	}
	lines_reader_free(r);
	if (account_held(&a))
		abort();
	regex_free(regex);
}

static void drop(void)
{
	model_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf payload = {0};
	bool right = n == 0 || data[0] % 2 == 0;

	if (!m.n) {
		model_make(&m, ROWS, 12345);
		atexit(drop);
	}
	if (right) {
		buf_str(&payload, buf_view(&m.payload));
		change(&payload, 0, payload.n, data + 1, n ? n - 1 : 0);
	} else {
		rebuild(data + 1, n - 1, &payload);
	}
	ask_all(&payload, right);
	buf_fini(&payload);
	return 0;
}
