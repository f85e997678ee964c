/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peers are asked at the same time, and while this server's own records are
 * read; their pages are looked at on the scan's thread, as they come.
 *
 *	thread of a peer                     the scan's thread
 *	ask ──► ready ─────────────────────► takes the page
 *	        waits for the order ◄─────── orders the next one: before it looks at
 *	ask …                                the page, but for the first, which is
 *	                                     mostly all that a limit wants
 *
 * Counts that are too many for a page are asked for again in halves of time.
 */
#include <stdlib.h>

#include "query/peers_core.h"

enum {
	GROWTH = 4, /* of the rows of a page */
	WAIT_MS = 50,
	BYTES_MIN = 256 << 10,
	HALVES_MAX = 64, /* of one scan: what is too much for other reasons stays so */
};

/* So long the instance id that a peer gave is believed to be its own still. */
#define BELIEVED_NS (60 * NS_PER_SEC)

static bool wait_for_order(struct fetch *f)
{
	struct fetches *all = f->all;
	bool go;

	lock_take(&all->lock);
	while (!all->stop && !f->stopped && !f->ordered)
		cond_wait(&all->changed, &all->lock);
	f->ordered = false;
	go = !all->stop && !f->stopped;
	lock_drop(&all->lock);
	return go;
}

/* False when nobody wants it. */
static bool hand(struct fetch *f, struct page *page, int code, const struct error *e)
{
	struct fetches *all = f->all;
	bool wanted;

	lock_take(&all->lock);
	wanted = !all->stop && !f->stopped;
	if (wanted) {
		f->ready = true;
		f->code = code;
		if (code < 0)
			f->error = *e;
		else
			f->page = *page;
		cond_broadcast(&all->changed);
	}
	lock_drop(&all->lock);
	if (!wanted && code == 0)
		remote_page_fini(page, all->account);
	return wanted;
}

/* What is left to be asked: [from, cut) now, [cut, to) later. */
struct progress {
	int64_t from_ns, cut_ns, to_ns;
	struct page_request q;
	unsigned n_halved;
};

/* False when the callbacks want nothing of it any more. */
static bool bound(struct fetch *f, struct progress *g)
{
	struct fetches *all = f->all;

	lock_take(&all->lock);
	g->q.from_ns = g->from_ns > all->from_ns ? g->from_ns : all->from_ns;
	g->q.to_ns = g->cut_ns < all->to_ns ? g->cut_ns : all->to_ns;
	lock_drop(&all->lock);
	/* Behind where it resumes, which may be behind all that is wanted by now. */
	if (g->q.resume && g->q.forward && g->q.resume_ns > g->q.from_ns)
		g->q.from_ns = g->q.resume_ns;
	if (g->q.resume && !g->q.forward && g->q.resume_ns < g->q.to_ns - 1)
		g->q.to_ns = g->q.resume_ns + 1;
	return g->q.from_ns < g->q.to_ns;
}

static bool halve(struct progress *g)
{
	uint64_t span = (uint64_t)g->q.to_ns - (uint64_t)g->q.from_ns;

	if (!g->q.counts || span < 2 || g->n_halved == HALVES_MAX)
		return false;
	g->n_halved++;
	g->cut_ns = (int64_t)((uint64_t)g->q.from_ns + span / 2);
	return true;
}

/* More than in the page before, until a page is full by its bytes: a peer that is asked for more
 * rows than fit reads lines that it throws away. */
static uint64_t next_rows(const struct progress *g, const struct page *p)
{
	uint64_t n = p->rows ? batch_count(p->rows) : 0;

	if (n && n < g->q.rows)
		return n + n / 8 + 1;
	return g->q.rows < PAGE_ROWS_MAX / GROWTH ? g->q.rows * GROWTH : PAGE_ROWS_MAX;
}

/* False at the end. */
static bool step(struct fetch *f, struct progress *g, const struct page *p)
{
	const struct page_request *first = &f->all->ask;

	/* Of streams all come with one page. */
	if (p->more && !g->q.streams) {
		g->q.resume = true;
		g->q.resume_ns = p->next_ns;
		g->q.resume_seq = p->next_seq;
		g->q.counted = g->q.counted || g->q.counts;
		g->q.counts = false;
		g->q.rows = next_rows(g, p);
		return true;
	}
	if (g->cut_ns >= g->to_ns)
		return false;
	g->from_ns = g->cut_ns;
	g->cut_ns = g->to_ns;
	g->q.resume = first->resume;
	g->q.counts = first->counts;
	g->q.counted = first->counted;
	return true;
}

/* Is the page the last one?  Then nobody needs to order another. */
static void finish(struct fetch *f)
{
	lock_take(&f->all->lock);
	f->done = true;
	cond_broadcast(&f->all->changed);
	lock_drop(&f->all->lock);
}

static void *run(void *arg)
{
	struct fetch *f = arg;
	struct fetches *all = f->all;
	struct progress g = {all->ask.from_ns, all->ask.to_ns, all->ask.to_ns, all->ask, 0};
	struct page page;
	struct error e;
	bool more = true, too_much;
	int code;

	g.q.packed = remote_is_far(f->remote);
	while (more && bound(f, &g)) {
		code = remote_page(
			f->remote, all->tenant, &g.q, &f->call, all->account, &page, &too_much, &e);
		if (code < 0 && too_much && halve(&g))
			continue;
		more = code == 0 && step(f, &g, &page);
		if (!hand(f, &page, code, &e) || !more)
			break;
		more = wait_for_order(f);
	}
	finish(f);
	return NULL;
}

void fetches_start(struct fetches *all, struct peers *p, unsigned only, struct str tenant,
	const struct page_request *q, struct account *account)
{
	char instance[INSTANCE_SIZE];
	uint64_t bytes = account ? account->limit / (4 * (p->n + 1)) : PAGE_BYTES_MAX;
	int64_t answered, now = clock_mono_ns(clock_real());

	*all = (struct fetches){.tenant = tenant,
		.ask = *q,
		.account = account,
		.from_ns = q->from_ns,
		.to_ns = q->to_ns};
	all->ask.bytes = bytes > PAGE_BYTES_MAX ? PAGE_BYTES_MAX
			 : bytes < BYTES_MIN    ? BYTES_MIN
						: bytes;
	lock_init(&all->lock);
	cond_init(&all->changed);
	all->list = xcalloc(p->n, sizeof *all->list);
	for (size_t k = 1; k <= p->n; k++) {
		struct fetch *f = &all->list[all->n];

		remote_last(p->remotes[k - 1], instance, &answered);
		/* Names may lead to another server by now: so each is asked now and then. */
		if (only ? only != 1 + k
			 : now - answered < BELIEVED_NS && peers_told_already(p, k, instance))
			continue;
		*f = (struct fetch){.all = all, .number = k, .remote = p->remotes[k - 1]};
		remote_call_init(&f->call);
		all->n++;
	}
	for (size_t i = 0; i < all->n; i++)
		all->list[i].thread = thread_start("peer", run, &all->list[i]);
}

static struct fetch *take(struct fetches *all, struct page *out, int *code, struct error *e)
	REQUIRES(all->lock)
{
	for (size_t i = 0; i < all->n; i++) {
		struct fetch *f = &all->list[i];

		if (!f->ready || f->stopped)
			continue;
		f->ready = false;
		f->n_taken++;
		*code = f->code;
		if (f->code < 0)
			*e = f->error;
		else
			*out = f->page;
		return f;
	}
	return NULL;
}

static bool all_done(struct fetches *all) REQUIRES(all->lock)
{
	for (size_t i = 0; i < all->n; i++)
		if (!all->list[i].done && !all->list[i].stopped)
			return false;
	return true;
}

struct fetch *fetches_next(struct fetches *all, const _Atomic bool *cancel, int64_t deadline_ns,
	struct page *out, int *code, struct error *e)
{
	struct fetch *f = NULL;

	*code = 0;
	lock_take(&all->lock);
	while (!(f = take(all, out, code, e)) && !all_done(all)) {
		if (cancel && atomic_load_explicit(cancel, memory_order_relaxed)) {
			*code = error_set(e, ERR_CANCELLED, "cancelled");
			break;
		}
		if (deadline_ns && clock_mono_ns(clock_real()) >= deadline_ns) {
			*code = error_set(e, ERR_TIMEOUT,
				"the time of the query was over while peers were waited for");
			break;
		}
		cond_wait_for(&all->changed, &all->lock, WAIT_MS * NS_PER_MS);
	}
	lock_drop(&all->lock);
	return f;
}

void fetch_order(struct fetch *f)
{
	lock_take(&f->all->lock);
	f->ordered = true;
	cond_broadcast(&f->all->changed);
	lock_drop(&f->all->lock);
}

void fetch_stop(struct fetch *f)
{
	lock_take(&f->all->lock);
	f->stopped = true;
	cond_broadcast(&f->all->changed);
	lock_drop(&f->all->lock);
	remote_call_cancel(&f->call);
}

void fetches_narrow(struct fetches *all, int64_t from_ns, int64_t to_ns)
{
	lock_take(&all->lock);
	all->from_ns = from_ns > all->from_ns ? from_ns : all->from_ns;
	all->to_ns = to_ns < all->to_ns ? to_ns : all->to_ns;
	lock_drop(&all->lock);
}

void fetches_end(struct fetches *all)
{
	lock_take(&all->lock);
	all->stop = true;
	cond_broadcast(&all->changed);
	lock_drop(&all->lock);
	for (size_t i = 0; i < all->n; i++)
		remote_call_cancel(&all->list[i].call);
	for (size_t i = 0; i < all->n; i++) {
		struct fetch *f = &all->list[i];

		pthread_join(f->thread, NULL);
		if (f->ready && f->code == 0)
			remote_page_fini(&f->page, all->account);
		remote_call_fini(&f->call);
	}
	free(all->list);
	all->list = NULL;
	all->n = 0;
	cond_fini(&all->changed);
	lock_fini(&all->lock);
}
