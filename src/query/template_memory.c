/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run holds for its functions: memory until the end of the execution,
 * and things that are dear to make again, as regexes of computed patterns.
 *
 * Memory is a list of chunks that stay for the next row, so that a row of the
 * usual size takes none from the system.
 */
#include "query/template_memory.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

enum { CHUNK = 16 << 10, KEPT_MAX = 256 << 10 };

struct memory_chunk {
	struct memory_chunk *next;
	size_t used, size;
	_Alignas(16) char bytes[];
};

struct template_run *template_run_new(struct account *a)
{
	struct template_run *r = xcalloc(1, sizeof *r);

	r->account = a;
	return r;
}

static void free_chunks(struct template_run *r)
{
	while (r->chunks) {
		struct memory_chunk *next = r->chunks->next;
		account_release(r->account, r->chunks->size);
		free(r->chunks);
		r->chunks = next;
	}
	r->chunk_bytes = 0;
}

void template_run_free(struct template_run *r)
{
	if (!r)
		return;
	free_chunks(r);
	for (size_t i = 0; i < TEMPLATE_REGEXES; i++)
		regex_free(r->regexes[i].regex);
	zone_free(r->zone);
	free(r->zone_name);
	json_parser_free(r->json);
	free(r->variables);
	account_release(r->account, r->charged);
	buf_fini(&r->out);
	buf_fini(&r->scratch);
	free(r);
}

void template_memory_reset(struct template_run *r)
{
	if (r->chunk_bytes > KEPT_MAX) {
		free_chunks(r);
		return;
	}
	if (r->allocated == 0)
		return;
	for (struct memory_chunk *c = r->chunks; c; c = c->next)
		c->used = 0;
	r->allocated = 0;
}

static struct memory_chunk *add_chunk(struct template_run *r, size_t n)
{
	size_t size = n > CHUNK ? n : CHUNK;
	struct memory_chunk *c;

	if (r->account && account_charge(r->account, size) < 0)
		return NULL;
	c = xmalloc(sizeof *c + size);
	*c = (struct memory_chunk){.next = r->chunks, .size = size};
	r->chunks = c;
	r->chunk_bytes += size;
	return c;
}

void *template_alloc(struct template_run *r, size_t n)
{
	struct memory_chunk *c = r->chunks;
	void *p;

	n = (n + 15) & ~(size_t)15;
	if (n > TEMPLATE_MEMORY_MAX || r->allocated + n > TEMPLATE_MEMORY_MAX) {
		template_fail(
			r, "more than %d MiB of memory for one line", TEMPLATE_MEMORY_MAX >> 20);
		return NULL;
	}
	while (c && c->size - c->used < n)
		c = c->next;
	if (!c && !(c = add_chunk(r, n))) {
		template_fail(r, "the memory for queries is used up");
		return NULL;
	}
	p = c->bytes + c->used;
	c->used += n;
	r->allocated += n;
	return p;
}

int template_keep(struct template_run *r, struct buf *b, struct datum *out)
{
	char *p;

	if (b->n > TEMPLATE_OUT_MAX)
		return template_fail(r, "more than %d bytes of text", TEMPLATE_OUT_MAX);
	if (!(p = template_alloc(r, b->n)))
		return ERR_ARG;
	if (b->n)
		memcpy(p, b->p, b->n);
	*out = datum_string(str_make(p, b->n));
	b->n = 0;
	return 0;
}

struct buf *template_scratch(struct template_run *r)
{
	buf_clear(&r->scratch);
	return &r->scratch;
}

int template_fail(struct template_run *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->sentence, sizeof r->sentence, fmt, ap);
	va_end(ap);
	return ERR_ARG;
}

int template_work(struct template_run *r, size_t bytes)
{
	r->steps += 1 + bytes / TEMPLATE_BYTES_A_STEP;
	if (r->steps > TEMPLATE_STEPS_MAX)
		return template_fail(r, "more than %d steps for one line", TEMPLATE_STEPS_MAX);
	return 0;
}

struct fields *template_fields(struct template_run *r)
{
	return r->fields;
}

int64_t template_timestamp(struct template_run *r)
{
	return r->timestamp;
}

int template_regex(struct template_run *r, struct str pattern, const struct regex **out)
{
	struct error e = {0};
	struct cached_regex *c;

	if (r->constant_regex) {
		*out = r->constant_regex;
		return 0;
	}
	for (size_t i = 0; i < TEMPLATE_REGEXES; i++) {
		c = &r->regexes[i];
		if (c->regex && str_eq(regex_pattern(c->regex), pattern)) {
			*out = c->regex;
			return 0;
		}
	}
	c = &r->regexes[r->next_regex];
	regex_free(c->regex);
	c->regex = NULL;
	/* Compiling is dear: rows that come with a pattern of their own pay for it. */
	if (template_work(r, pattern.n * 64) < 0)
		return ERR_ARG;
	if (regex_new_groups(&c->regex, pattern, &e) < 0)
		return template_fail(r, "%s", e.text);
	r->next_regex = (r->next_regex + 1) % TEMPLATE_REGEXES;
	*out = c->regex;
	return 0;
}

static void open_zone(struct template_run *r, struct str name)
{
	zone_free(r->zone);
	free(r->zone_name);
	r->zone = NULL;
	r->zone_name = str_dup(name);
	if (name.n && !str_eq(name, STR("Local")))
		(void)zone_new(&r->zone, name, NULL);
}

static int32_t offset_at(const struct zone *z, int64_t s)
{
	const int64_t limit = INT64_MAX / 1000000000 - 86400;

	/* Beyond what a time in ns can say, the offset at its end holds. */
	s = s > limit ? limit : s < -limit ? -limit : s;
	return zone_offset(z, s * 1000000000);
}

int32_t template_zone(struct template_run *r, struct str name, int64_t local_s)
{
	int32_t offset;

	if (!r->zone_name || !str_eq_c(name, r->zone_name))
		open_zone(r, name);
	if (!r->zone)
		return 0;
	/* The offset at the instant that the one found first gives. */
	offset = offset_at(r->zone, local_s);
	return offset_at(r->zone, local_s - offset);
}

struct json_parser *template_json(struct template_run *r)
{
	if (!r->json)
		r->json = r->account ? json_parser_new_charged(r->account) : json_parser_new();
	return r->json;
}
