/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/memory.h"
#include "conf/option.h"
#include "query/peers_core.h"

enum { LOOK_BYTES = 4 << 20 }; /* of answers that tell of nothing */

#define TIMEOUT_NS (10 * NS_PER_SEC)
/* Who has not answered for so long does not lead. */
#define LATELY_NS (120 * NS_PER_SEC)

int peers_new(struct peers **out, const struct peers_options *o, struct error *e)
{
	struct peers *p = xcalloc(1, sizeof *p);
	struct remote_options remote = {.token_file = o->token_file,
		.ca = o->ca,
		.timeout_ns = o->timeout_ns ? o->timeout_ns : TIMEOUT_NS};
	int r = 0;

	str_copy(str_c(o->instance), p->instance, sizeof p->instance);
	if (o->urls->n > PEERS_MAX)
		r = error_set(e, ERR_ARG, "at most %d servers", PEERS_MAX);
	p->remotes = xcalloc(o->urls->n, sizeof *p->remotes);
	for (size_t i = 0; i < o->urls->n && r == 0; i++) {
		remote.url = o->urls->items[i];
		remote.zone = o->zones ? o->zones->items[i] : NULL;
		if ((r = remote_new(&p->remotes[i], &remote, e)) == 0)
			p->n++;
	}
	if (r < 0)
		peers_free(p);
	else
		*out = p;
	return r;
}

void peers_free(struct peers *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		remote_free(p->remotes[i]);
	free(p->remotes);
	free(p);
}

bool peers_told_already(struct peers *p, size_t number, const char *instance)
{
	char other[INSTANCE_SIZE];
	int64_t ignored;

	if (!instance[0])
		return false;
	if (strcmp(instance, p->instance) == 0)
		return true;
	for (size_t k = 1; k < number; k++) {
		remote_last(p->remotes[k - 1], other, &ignored);
		if (strcmp(instance, other) == 0)
			return true;
	}
	return false;
}

bool peers_seen_already(
	struct peers *p, char (*seen)[INSTANCE_SIZE], size_t number, const char *instance)
{
	/* Of two names of one server the lower number tells, so that its sequences stay. */
	if (!seen[number][0] && peers_told_already(p, number, instance))
		return true;
	for (size_t k = 1; k <= p->n; k++)
		if (k != number && seen[k][0] && strcmp(seen[k], instance) == 0)
			return true;
	str_copy(str_c(instance), seen[number], INSTANCE_SIZE);
	return false;
}

size_t peers_count(const struct peers *p)
{
	char instance[INSTANCE_SIZE];
	int64_t ignored;
	size_t n = 0;

	for (size_t k = 1; p && k <= p->n; k++) {
		remote_last(p->remotes[k - 1], instance, &ignored);
		n += !peers_told_already((struct peers *)p, k, instance);
	}
	return n;
}

size_t peers_listed(const struct peers *p)
{
	return p ? p->n : 0;
}

struct remote *peers_remote(struct peers *p, size_t index)
{
	return p->remotes[index];
}

bool peers_leads(struct peers *p)
{
	int64_t now = clock_mono_ns(clock_real()), answered;
	char instance[INSTANCE_SIZE];

	for (size_t i = 0; p && i < p->n; i++) {
		remote_last(p->remotes[i], instance, &answered);
		if (answered && now - answered < LATELY_NS && instance[0] &&
			strcmp(instance, p->instance) < 0)
			return false;
	}
	return true;
}

void peers_look(struct peers *p, const _Atomic bool *cancel)
{
	/* An empty span of time: all that is told is who answers. */
	struct page_request q = {.query = STR("{}"), .streams = true, .to_ns = 1};
	struct account account;
	struct fetches all;
	struct page page;
	struct error e;
	int code;

	if (!p || p->n == 0)
		return;
	account_init(&account, "looking at peers", LOOK_BYTES, NULL);
	fetches_start(&all, p, 0, STR("default"), &q, &account);
	while (fetches_next(&all, cancel, 0, &page, &code, &e))
		if (code == 0)
			remote_page_fini(&page, &account);
	fetches_end(&all);
}

void peers_dump(struct peers *p, struct buf *out)
{
	if (!p || p->n == 0)
		return;
	buf_printf(out, "peers: %zu beside this one, instance %s, which %s\n", peers_count(p),
		p->instance, peers_leads(p) ? "leads" : "does not lead");
	for (size_t i = 0; i < p->n; i++)
		remote_dump(p->remotes[i], out);
}
