/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `cat`: a forwarded file as it was, byte for byte.  The server lists the
 * generations of the file and gives one of them page by page; a page and a
 * few pieces that wait for their turn are all that is held.
 */
#include "cli/pieces.h"
#include "cli/print.h"
#include "cli/remote.h"
#include "record/time.h"

enum { HOLES_TOLD = 20 };

struct cat {
	struct command_line *cl;
	struct remote *remote;
	const char *name; /* HOST:FILE */
	struct str host, file;
	uint64_t n_holes, missing_bytes;
};

/* One entry of the server's list; views of it. */
struct generation {
	uint64_t number, size, records, gaps, skipped, redacted;
	int64_t first_ns, last_ns;
	struct str source, cursor, last_seq;
};

static uint64_t number_of(const struct json *j, size_t at, const char *key)
{
	size_t i = json_get(j, at, key);
	uint64_t n = 0;

	return i && str_u64(j->nodes[i].text, &n) ? n : 0;
}

static struct str text_of(const struct json *j, size_t at, const char *key)
{
	size_t i = json_get(j, at, key);

	return i ? j->nodes[i].text : STR_NONE;
}

static void read_generation(const struct json *j, size_t at, struct generation *out)
{
	*out = (struct generation){
		.number = number_of(j, at, "generation"),
		.size = number_of(j, at, "size"),
		.records = number_of(j, at, "records"),
		.gaps = number_of(j, at, "gaps"),
		.skipped = number_of(j, at, "skipped"),
		.redacted = number_of(j, at, "redacted"),
		.source = text_of(j, at, "source"),
		.cursor = text_of(j, at, "cursor"),
		.last_seq = text_of(j, at, "last_seq"),
	};
	str_i64(text_of(j, at, "first"), &out->first_ns);
	str_i64(text_of(j, at, "last"), &out->last_ns);
}

/* The list's node; its answer is valid until the next one. */
static int get_list(struct cat *c, struct json *j, size_t *list, struct error *e)
{
	struct buf path = {0};
	int r;

	buf_c(&path, "/sawlog/api/v1/files");
	remote_param(&path, "host", c->host);
	remote_param(&path, "file", c->file);
	r = remote_get(c->remote, buf_cstr(&path), j, e);
	buf_fini(&path);
	if (r < 0)
		return r;
	*list = json_get(j, 0, "generations");
	if (*list == 0 || j->nodes[*list].type != JSON_ARRAY)
		return error_set(e, ERR_NET, "the answer holds no generations: is this sawlog?");
	if (j->nodes[*list].inside == 0)
		return error_set(e, ERR_NOT_FOUND,
			"%s: no byte of this file is stored; `sawlog labels file --match "
			"'{host=\"%.*s\"}'` lists those of the host",
			c->name, STR_ARG(c->host));
	return 0;
}

static void put_time(struct buf *out, int64_t ns)
{
	size_t from = out->n;

	time_format(out, ns);
	while (out->n < from + 30)
		buf_char(out, ' ');
	buf_c(out, "  ");
}

static int print_list(struct cat *c, struct error *e)
{
	struct buf out = {0};
	struct json j;
	size_t list;
	int r;

	if ((r = get_list(c, &j, &list, e)) < 0)
		return r;
	buf_printf(&out, "%10s  %14s  %12s  %-30s  %-30s  %s\n", "GENERATION", "SIZE", "RECORDS",
		"FIRST", "LAST", "COMPLETE");
	for (size_t i = json_first(&j, list); i < json_end(&j, list); i = json_next(&j, i)) {
		struct generation g;

		read_generation(&j, i, &g);
		buf_printf(&out, "%10llu  %14llu  %12llu  ", (unsigned long long)g.number,
			(unsigned long long)g.size, (unsigned long long)g.records);
		put_time(&out, g.first_ns);
		put_time(&out, g.last_ns);
		if (g.gaps + g.skipped + g.redacted == 0)
			buf_c(&out, "yes\n");
		else
			buf_printf(&out, "no: %llu gaps, %llu skipped, %llu redacted\n",
				(unsigned long long)g.gaps, (unsigned long long)g.skipped,
				(unsigned long long)g.redacted);
	}
	fwrite(out.p, 1, out.n, c->cl->out);
	buf_fini(&out);
	return 0;
}

/* N counts from the oldest, 0 and below from the newest. */
static int choose(struct cat *c, const struct json *j, size_t list, int64_t number,
	struct generation *out, struct error *e)
{
	int64_t n = 0;

	for (size_t i = json_first(j, list); i < json_end(j, list); i = json_next(j, i))
		n++;
	if (number <= 0)
		number += n;
	if (number < 1 || number > n)
		return error_set(e, ERR_ARG,
			"--generation: %s has %lld, 1 the oldest; 0 is the newest, -1 the one "
			"before; see --list",
			c->name, (long long)n);
	for (size_t i = json_first(j, list); i < json_end(j, list); i = json_next(j, i))
		if (number-- == 1)
			read_generation(j, i, out);
	return 0;
}

static int write_bytes(void *ctx, struct str bytes, struct error *e)
{
	struct cat *c = ctx;

	if (fwrite(bytes.p, 1, bytes.n, c->cl->out) == bytes.n)
		return 0;
	return error_set(e, ERR_CLOSED, "the output is closed");
}

static void tell_hole(void *ctx, uint64_t offset, uint64_t n, const char *why)
{
	struct cat *c = ctx;
	struct buf text = {0};

	c->missing_bytes += n;
	if (c->n_holes++ >= HOLES_TOLD)
		return;
	print_escaped(&text, str_c(why), true);
	fprintf(c->cl->err, "sawlog cat: %s: %llu bytes at offset %llu are missing: %.*s\n",
		c->name, (unsigned long long)n, (unsigned long long)offset,
		STR_ARG(buf_view(&text)));
	buf_fini(&text);
}

/* source and until are part of each page's path. */
static int get_pages(struct cat *c, struct str query, struct buf *cursor, struct error *e)
{
	struct pieces p = {.write = write_bytes, .hole = tell_hole, .ctx = c};
	struct buf path = {0};
	int r = 0;

	while (r == 0 && cursor->n) {
		struct str page, next;

		buf_clear(&path);
		buf_str(&path, query);
		remote_param(&path, "cursor", buf_view(cursor));
		if ((r = remote_get_raw(c->remote, buf_cstr(&path), &page, e)) < 0 ||
			(r = pieces_page(&p, page, &next, e)) < 0)
			break;
		buf_clear(cursor);
		buf_str(cursor, next);
	}
	if (r == 0)
		r = pieces_end(&p, e);
	pieces_fini(&p);
	buf_fini(&path);
	return r;
}

static int print_file(struct cat *c, struct error *e)
{
	struct buf query = {0}, cursor = {0};
	struct generation g;
	struct json j;
	size_t list;
	int r;

	if ((r = get_list(c, &j, &list, e)) < 0 ||
		(r = choose(c, &j, list, flag_int(c->cl, "generation"), &g, e)) < 0)
		return r;
	buf_c(&query, "/sawlog/api/v1/cat");
	remote_param(&query, "source", g.source);
	remote_param(&query, "until", g.last_seq);
	buf_str(&cursor, g.cursor);
	r = get_pages(c, buf_view(&query), &cursor, e);
	buf_fini(&query);
	buf_fini(&cursor);
	return r;
}

static int run(struct command_line *cl)
{
	struct str file = str_c(cl->args[0]), host = str_cut(&file, ':');
	struct cat c = {.cl = cl, .name = cl->args[0], .host = host, .file = file};
	struct error e = {0};
	int r;

	if (host.n == 0 || file.n == 0) {
		error_set(&e, ERR_ARG, "expected HOST:FILE, as web1:/var/log/app.log, got \"%s\"",
			cl->args[0]);
		return command_usage(cl, &e);
	}
	if ((r = remote_open(&c.remote, cl, &e)) == 0)
		r = flag_bool(cl, "list") ? print_list(&c, &e) : print_file(&c, &e);
	remote_close(c.remote);
	if (r == ERR_CLOSED && ferror(cl->out))
		return EXIT_IO;
	if (r < 0)
		return command_fail(cl, &e);
	if (c.n_holes > HOLES_TOLD)
		fprintf(cl->err, "sawlog cat: %s: %llu holes in all, %llu bytes\n", c.name,
			(unsigned long long)c.n_holes, (unsigned long long)c.missing_bytes);
	return c.n_holes ? EXIT_TEMPORARY : EXIT_OK;
}

static const struct flag cat_flags[] = {
	{.name = "generation",
		.letter = 'g',
		.kind = FLAG_INT,
		.value = "N",
		.fallback = "0",
		.min = INT32_MIN,
		.max = INT32_MAX,
		.help = "Which one, where the file was rotated or truncated: 1 is the oldest that "
			"is stored, 0 the newest, -1 the one before."},
	{.name = "list", .letter = 'l', .kind = FLAG_BOOL, .help = "List the generations instead."},
	FLAG_END,
};

const struct command command_cat = {
	.name = "cat",
	.args = "HOST:FILE",
	.summary = "give back a forwarded file, byte for byte",
	.description =
		"Prints the file as it was on its host, as far as it is acknowledged: line ends, a "
		"missing last newline, and what a container runtime or another encoding had put "
		"around the lines. HOST and FILE are the labels host and file of its lines.\n\n"
		"What is not stored (dropped by a rule, refused, from before `start`, deleted since) "
		"is left out, and what was redacted comes redacted: then each such place is told on "
		"stderr and the exit code is 75.",
	.examples = "sawlog cat web1:/var/log/app.log | cmp - app.log\n"
		    "sawlog cat --list web1:/var/log/app.log\n"
		    "sawlog cat --generation=-1 web1:/var/log/app.log\n"
		    "  The one before the last rotation.\n",
	.flags = cat_flags,
	.groups = {&remote_flags, &access_flags},
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
