/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A block of lines of many sorts, and a filter's answer by testing every line:
 * shared by lines_read_test and lines_read_fuzz.
 */
#include <stdio.h>
#include <stdlib.h>

#include "store/lines/lines.h"
#include "store/lines/payload.h"

#define MODEL_TIME INT64_C(1700000000123456789)

struct read_model {
	struct str *line;
	int64_t *time;
	uint32_t n;
	struct buf payload, keys, text;
	struct template *templates;
	const struct template **pointers;
	size_t n_templates;
	uint64_t seed;
	bool plain; /* has lines without a template */
};

static uint64_t model_random(struct read_model *m, uint64_t n)
{
	m->seed ^= m->seed << 13;
	m->seed ^= m->seed >> 7;
	m->seed ^= m->seed << 17;
	return (m->seed >> 11) % n;
}

static int model_read(void *ctx, uint64_t at, size_t n, void *to, struct error *e)
{
	const struct buf *payload = ctx;

	if (at > payload->n || n > payload->n - at)
		return error_set(e, ERR_CORRUPT, "read outside of the payload");
	memcpy(to, payload->p + at, n);
	return 0;
}

static void model_token(struct read_model *m, struct buf *b, size_t n, const char *alphabet)
{
	for (size_t i = 0; i < n; i++)
		buf_char(b, alphabet[model_random(m, strlen(alphabet))]);
}

/* With an odd seed there is a line that has too many values for a template: then the lines of rare
 * templates are plain, too. */
static void model_line(struct read_model *m, struct buf *b, uint32_t i)
{
	uint64_t a = model_random(m, 256), c = model_random(m, 70000);

	if (i == m->n / 2 && m->plain) {
		for (unsigned k = 0; k <= TOKEN_SLOTS_MAX; k++)
			buf_printf(b, "%u ", k);
		return;
	}
	switch (model_random(m, 10)) {
	case 0:
		buf_printf(b, "10.251.%u.%u:%u Served block blk_-%019llu to /10.0.0.%u",
			(unsigned)a, (unsigned)(c % 7), (unsigned)c,
			(unsigned long long)(7000000000000000000 + (i % 40) * 99991),
			(unsigned)a % 9);
		break;
	case 1:
		buf_printf(b, "Failed password for root from 10.0.0.%u port %u ssh2", (unsigned)a,
			(unsigned)c);
		break;
	case 2:
		buf_printf(b,
			"[%03u] request req-%08llx-e89b-12d3-a456-4266141740%02u took %u.%03u s",
			(unsigned)a, (unsigned long long)model_random(m, 50) * 7919,
			(unsigned)a % 10, (unsigned)a % 3, (unsigned)c % 1000);
		break;
	case 3:
		buf_c(b, "token ");
		model_token(m, b, 16, "a1B2c3D4");
		buf_c(b, " of Worker-");
		model_token(m, b, 8, "0123456789abcdef");
		break;
	case 4: buf_printf(b, "connection timed out after %u ms", (unsigned)c); break;
	case 5: buf_c(b, "no values here, only ERROR and timeout"); break;
	case 6:
		buf_printf(b, "core.%u %05u 0x%08X", (unsigned)a, (unsigned)c, (unsigned)(a * c));
		break;
	case 7:
		buf_printf(b, "rare %c%c %u", 'a' + (char)model_random(m, 26),
			'a' + (char)model_random(m, 26), (unsigned)a);
		break;
	case 8:
		buf_c(b, "odd \xc5\xbf\xff ");
		model_token(m, b, model_random(m, 4), "\n\r\xff ab");
		break;
	default: model_token(m, b, model_random(m, 30), "ab1 -.Z"); break;
	}
}

static void model_make(struct read_model *m, uint32_t n, uint64_t seed)
{
	struct lines_writer *w = lines_writer_new(NULL, 1);
	struct lines_written written;
	size_t *end = xcalloc(n, sizeof *end), at = 0;

	*m = (struct read_model){.n = n, .seed = seed, .plain = seed & 1};
	m->line = xcalloc(n, sizeof *m->line);
	m->time = xcalloc(n, sizeof *m->time);
	for (uint32_t i = 0; i < n; i++) {
		m->time[i] = MODEL_TIME + i * INT64_C(123456789);
		model_line(m, &m->text, i);
		end[i] = m->text.n;
	}
	for (uint32_t i = 0; i < n; i++) {
		m->line[i] = str_make(m->text.p + at, end[i] - at);
		at = end[i];
		lines_writer_add(w, m->line[i], m->time[i]);
	}
	lines_writer_finish(w, &m->payload, &written);
	m->n_templates = written.n_templates;
	m->templates = xcalloc(m->n_templates, sizeof *m->templates);
	m->pointers = xcalloc(m->n_templates, sizeof(struct template *));
	for (size_t i = 0; i < m->n_templates; i++)
		buf_str(&m->keys, written.keys[i]);
	at = 0;
	for (size_t i = 0; i < m->n_templates; i++) {
		struct str key = str_make(m->keys.p + at, written.keys[i].n);
		if (template_parse(&m->templates[i], key, NULL) < 0)
			abort();
		at += key.n;
		m->pointers[i] = &m->templates[i];
	}
	free(end);
	lines_writer_free(w);
}

static void model_free(struct read_model *m)
{
	for (size_t i = 0; i < m->n_templates; i++)
		template_fini(&m->templates[i]);
	free(m->templates);
	free(m->pointers);
	free(m->line);
	free(m->time);
	buf_fini(&m->payload);
	buf_fini(&m->keys);
	buf_fini(&m->text);
}

static struct lines_source model_source(struct read_model *m, struct buf *payload)
{
	return (struct lines_source){.ctx = payload,
		.read = model_read,
		.bytes = payload->n,
		.n_rows = m->n,
		.templates = m->pointers,
		.n_templates = m->n_templates,
		.timestamps = m->time};
}

/* Filter pick[0..n) and get what is left; 0 when `got` has n lines more.  Whatever the payload
 * holds, the answer is rows of the picked ones, ascending. */
static int model_ask(struct read_model *m, struct lines_reader *r, const struct line_filter *f,
	size_t n_filters, uint32_t *pick, size_t *n, struct str *got, struct error *e)
{
	uint8_t *verdict = xcalloc(m->n_templates, 1);
	size_t before = *n;
	int code;

	for (size_t i = 0; i < m->n_templates; i++)
		verdict[i] = (uint8_t)match_filters(f, n_filters, m->pointers[i]);
	code = lines_filter(r, f, n_filters, verdict, pick, n, e);
	free(verdict);
	if (code < 0)
		return code;
	if (*n > before)
		abort();
	for (size_t i = 0; i < *n; i++)
		if (pick[i] >= m->n || (i > 0 && pick[i] <= pick[i - 1]))
			abort();
	return lines_get(r, pick, *n, got, e);
}

/* Is pick[0..n) what testing each of the rows asked[0..n_asked) gives, with the right lines? */
static bool model_agrees(const struct read_model *m, const struct line_filter *f, size_t n_filters,
	const uint32_t *asked, size_t n_asked, const uint32_t *pick, size_t n,
	const struct str *got)
{
	size_t k = 0;

	for (size_t i = 0; i < n_asked; i++) {
		int kept = line_filters_test(f, n_filters, m->line[asked[i]]);
		if (kept < 0)
			return true; /* the expression gave up here, where the store need not */
		if (!kept)
			continue;
		if (k == n || pick[k] != asked[i] || !str_eq(got[pick[k]], m->line[asked[i]]))
			return false;
		k++;
	}
	return k == n;
}
