/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "input/set.c"

/* A kind of input that starts and stops as the test says, and writes down what happens. */

struct probe_settings {
	const char *port; /* "bad": cannot start; "slow": stops late */
	const char *label;
};

struct probe {
	const struct probe_settings *s;
	const char *dir;
	struct loop *loop;
	struct timer timer;
	loop_fn *stopped;
	void *arg;
	void (*ended)(void *arg);
	void *ended_arg;
	bool (*wanted)(void *arg, const char *address);
	void *wanted_arg;
	bool left; /* to the next one */
};

static struct buf story;
static bool bad_is_good, slow_waits;
static struct probe *last;

static int probe_start(
	void **out, const void *settings, const struct input_env *env, struct error *e)
{
	const struct probe_settings *s = settings;
	struct probe *p;

	if (strcmp(s->port, "bad") == 0 && !bad_is_good)
		return error_set(e, ERR_NET, "port bad is in use");
	p = xcalloc(1, sizeof *p);
	p->s = s;
	p->dir = strrchr(env->state_dir, '/') + 1;
	p->loop = env->loop;
	p->ended = env->ended;
	p->ended_arg = env->ended_arg;
	p->wanted = env->wanted;
	p->wanted_arg = env->wanted_arg;
	buf_printf(&story, "+%s/%s ", s->port, s->label ? s->label : "");
	*out = last = p;
	return 0;
}

static void probe_gone(void *arg)
{
	struct probe *p = arg;

	if (slow_waits && strcmp(p->s->port, "slow") == 0) {
		timer_set(&p->timer, 1, 0);
		return;
	}
	timer_fini(&p->timer);
	buf_printf(&story, p->left ? "-%s= " : "-%s ", p->s->port);
	p->stopped(p->arg);
	free(p);
}

static void probe_stop(void *input, loop_fn *stopped, void *arg)
{
	struct probe *p = input;

	p->stopped = stopped;
	p->arg = arg;
	p->left = p->wanted(p->wanted_arg, p->s->port);
	timer_init(&p->timer, p->loop, probe_gone, p);
	timer_set(&p->timer, 1, 0);
}

static void probe_listens(
	const void *settings, void (*each)(void *arg, const char *address, bool guarded), void *arg)
{
	each(arg, ((const struct probe_settings *)settings)->port, true);
}

static const struct option probe_options[] = {
	OPTION(struct probe_settings, port, .kind = OPT_STRING, .help = "The port."),
	OPTION(struct probe_settings, label, .kind = OPT_STRING, .help = "A label."),
	OPTION_END,
};

static const struct input_type probe_type = {
	.name = "probe",
	.size = sizeof(struct probe_settings),
	.options = probe_options,
	.start = probe_start,
	.stop = probe_stop,
	.listens = probe_listens,
};

/* The bench: everything on this thread; the loop runs until something is done. */

struct bench {
	char dir[64];
	struct loop *loop;
	struct inputs *set;
	unsigned n_done, n_ended;
	struct error e;
	bool failed, stopped;
};

static void on_done(void *arg, const struct error *e)
{
	struct bench *b = arg;

	b->n_done++;
	b->failed = e != NULL;
	if (e)
		b->e = *e;
}

static void on_end(void *arg)
{
	((struct bench *)arg)->n_ended++;
}

static void on_all_stopped(void *arg)
{
	((struct bench *)arg)->stopped = true;
}

static void bench_init(struct bench *b)
{
	memset(b, 0, sizeof *b);
	strcpy(b->dir, "/tmp/sawlog-set-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	b->loop = loop_new("test");
	b->set = inputs_new(b->loop, b->dir, on_end, b);
	bad_is_good = slow_waits = false;
	buf_clear(&story);
}

static void turn(struct bench *b)
{
	uv_run(loop_uv(b->loop), UV_RUN_ONCE);
}

static void bench_fini(struct bench *b)
{
	char command[100];

	inputs_stop(b->set, on_all_stopped, b);
	while (!b->stopped)
		turn(b);
	inputs_free(b->set);
	loop_free(b->loop);
	snprintf(command, sizeof command, "rm -rf %s", b->dir);
	assert_int_equal(system(command), 0);
	buf_fini(&story);
}

/* "a/x b c": ports with labels. */
static int ask(struct bench *b, const char *text, bool most)
{
	struct generation *g = generation_new();
	struct kinds *kinds = ARENA_NEW(&g->arena, struct kinds);
	struct inputs_wanted w = {.kinds = kinds,
		.generation = g,
		.most = most,
		.env = {.loop = b->loop, .host = "h", .tenant = STR("t")}};
	struct str rest = str_c(text);
	int r;

	kinds->items = ARENA_ARRAY(&g->arena, struct kind_entry, 16);
	while (rest.n) {
		struct str one = str_cut(&rest, ' '), port = str_cut(&one, '/');
		struct probe_settings *s = ARENA_NEW(&g->arena, struct probe_settings);

		s->port = arena_c(&g->arena, port);
		s->label = one.n ? arena_c(&g->arena, one) : NULL;
		kinds->items[kinds->n++] =
			(struct kind_entry){.kind = "probe", .type = &probe_type, .settings = s};
	}
	r = inputs_apply(b->set, &w, on_done, b, &b->e);
	generation_unref(g);
	return r;
}

static void apply(struct bench *b, const char *text)
{
	unsigned before = b->n_done;

	buf_clear(&story);
	assert_int_equal(ask(b, text, false), 0);
	while (b->n_done == before)
		turn(b);
}

static void expect(const char *text)
{
	assert_string_equal(buf_cstr(&story), text);
}

static void test_exchange(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b);
	apply(&b, "a b c");
	expect("+a/ +b/ +c/ ");
	apply(&b, "c a b");
	expect("");
	apply(&b, "b c/x d");
	expect("-c= -a +c/x +d/ ");
	assert_false(b.failed);
	assert_int_equal(inputs_count(b.set), 3);
	apply(&b, "b b");
	assert_int_equal(inputs_count(b.set), 2);
	apply(&b, "");
	assert_int_equal(inputs_count(b.set), 0);
	bench_fini(&b);
}

static void test_all_or_nothing(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b);
	apply(&b, "a b c");
	apply(&b, "a b/new d bad e");
	assert_true(b.failed);
	assert_non_null(strstr(b.e.text, "port bad is in use"));
	assert_non_null(strstr(b.e.text, "input probe-"));
	expect("-b= -c +b/new +d/ -b= -d +b/ +c/ ");
	assert_int_equal(inputs_count(b.set), 3);
	/* And it is the old set that is compared with next. */
	apply(&b, "c b a");
	expect("");
	assert_false(b.failed);
	bench_fini(&b);
}

/* At the first start the others run, and what could not start is tried again. */
static void test_most(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b);
	assert_int_equal(ask(&b, "a bad c", true), 0);
	assert_int_equal(b.n_done, 1);
	assert_true(b.failed);
	assert_int_equal(inputs_count(b.set), 2);
	/* A reload that keeps it is not refused for it. */
	apply(&b, "a bad d");
	assert_false(b.failed);
	expect("-c +d/ ");
	bad_is_good = true;
	while (inputs_count(b.set) < 3)
		turn(&b);
	bench_fini(&b);
}

static void test_names(void **state)
{
	struct bench b;
	struct stat st;
	char path[200], first[64];

	(void)state;
	bench_init(&b);
	snprintf(path, sizeof path, "%s/probe-1", b.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	apply(&b, "a");
	snprintf(first, sizeof first, "%s", last->dir);
	apply(&b, "z a/x");
	/* Settings and place have changed, what it is has not. */
	assert_string_equal(last->dir, first);
	apply(&b, "z a/x a/y");
	assert_memory_equal(last->dir, first, strlen(first));
	assert_string_equal(last->dir + strlen(first), "-2");
	/* The folder of an older version is the state of the one in its place. */
	assert_int_equal(stat(path, &st), 0);
	apply(&b, "z new");
	assert_int_equal(stat(path, &st), -1);
	bench_fini(&b);
}

static void test_ended(void **state)
{
	struct bench b;
	struct probe *first;

	(void)state;
	bench_init(&b);
	apply(&b, "a");
	first = last;
	apply(&b, "a b");
	last->ended(last->ended_arg);
	assert_int_equal(b.n_ended, 0);
	first->ended(first->ended_arg);
	assert_int_equal(b.n_ended, 1);
	bench_fini(&b);
}

/* Ending while old or new ones are being stopped. */
static void test_stop_within(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b);
	apply(&b, "a slow");
	slow_waits = true;
	assert_int_equal(ask(&b, "a b", false), 0);
	assert_int_equal(ask(&b, "a c", false), ERR_BUSY);
	inputs_stop(b.set, on_all_stopped, &b);
	assert_false(b.stopped);
	slow_waits = false;
	while (!b.stopped)
		turn(&b);
	assert_int_equal(b.n_done, 2);
	assert_int_equal(b.e.code, ERR_CLOSED);
	inputs_free(b.set);
	b.set = inputs_new(b.loop, b.dir, NULL, NULL);
	b.stopped = false;
	bench_fini(&b);
}

/* Reloads. */

struct reloader {
	struct reloads r;
	unsigned n_begun, n_answered, n_refused;
};

static void begin(void *ctx)
{
	((struct reloader *)ctx)->n_begun++;
}

static void answered(void *arg, const struct error *e)
{
	struct reloader *r = arg;

	r->n_answered++;
	r->n_refused += e != NULL;
}

static void test_reloads(void **state)
{
	struct reloader r = {.r = {.begin = begin, .ctx = &r}};
	struct error e = {.code = ERR_ARG};

	(void)state;
	reloads_ask(&r.r, answered, &r);
	assert_int_equal(r.n_begun, 1);
	/* Many who ask meanwhile are one more. */
	for (int i = 0; i < 5; i++)
		reloads_ask(&r.r, i % 2 ? answered : NULL, &r);
	assert_int_equal(r.n_begun, 1);
	reloads_finish(&r.r, NULL);
	assert_int_equal(r.n_answered, 1);
	assert_int_equal(r.n_begun, 2);
	reloads_ask(&r.r, answered, &r);
	reloads_finish(&r.r, &e);
	assert_int_equal(r.n_answered, 3);
	assert_int_equal(r.n_refused, 2);
	assert_int_equal(r.n_begun, 3);
	reloads_ask(&r.r, answered, &r);
	reloads_end(&r.r, &e);
	assert_int_equal(r.n_answered, 5);
	reloads_finish(&r.r, NULL);
	assert_int_equal(r.n_begun, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_all_or_nothing),
		cmocka_unit_test(test_most),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_ended),
		cmocka_unit_test(test_stop_within),
		cmocka_unit_test(test_reloads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
