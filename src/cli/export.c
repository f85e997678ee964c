/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `store export`: records as JSON lines, oldest first, page by page.
 *
 * The order is that of a query, (time, sequence), so a page begins behind the
 * last record of the one before, and so does an export that goes on behind
 * --after: the record's number gives its time.  A server is asked as `query`
 * asks it; a folder is opened as a server opens it, and nothing of it is
 * merged, dropped or cleaned meanwhile.
 */
#include "cli/export.h"

#include <inttypes.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/fetch.h"
#include "os/clock.h"
#include "query/record.h"
#include "query/selector.h"
#include "store/retain.h"

enum {
	PAGE_LINES = 16 << 10,
	MEMORY_BYTES = 256 << 20, /* what serve takes by default */
	PAGE_BYTES = 64 << 20,
};

static const int64_t page_timeout_ns = 3600 * NS_PER_SEC;

struct export
{
	struct command_line *cl;
	struct printer printer;
	const char *selector;
	int64_t from_ns, until_ns;
	uint64_t after_seq; /* 0: from the beginning */
	bool warned;
	/* Of a folder. */
	struct map told;
	struct labels_builder builder;
	struct buf labels;
};

static int print_page(void *ctx, const struct print_entry *list, size_t n)
{
	struct export *x = ctx;

	for (size_t i = 0; i < n; i++)
		printer_entry(&x->printer, &list[i]);
	return ferror(x->cl->out) ? ERR_CLOSED : 0;
}

/* --- out of a server ------------------------------------------------------------------- */

/* Where the pages behind record after_seq begin, as the server's own "next" says it. */
static int find_place(struct export *x, struct remote *remote, struct buf *out, struct error *e)
{
	struct buf path = {0};
	size_t data, record, time;
	struct json j;
	int r;

	buf_printf(&path, "/api/v1/record/%" PRIu64, x->after_seq);
	r = remote_get(remote, buf_cstr(&path), &j, e);
	buf_fini(&path);
	if (r < 0)
		return error_wrap(e, r, "--after");
	data = json_get(&j, 0, "data");
	record = data ? json_get(&j, data, "record") : 0;
	time = record ? json_get(&j, record, "time") : 0;
	if (!time)
		return error_set(e, ERR_NET, "the answer holds no record: is this a sawlog?");
	buf_printf(out, "f.%.*s.%" PRIu64 ".0", STR_ARG(j.nodes[time].text), x->after_seq);
	return 0;
}

static int export_server(struct export *x, struct error *e)
{
	struct fetch f = {.cl = x->cl,
		.query = x->selector,
		.from_ns = x->from_ns,
		.until_ns = x->until_ns,
		.forward = true,
		.whole = x->printer.whole,
		.page = print_page,
		.ctx = x};
	struct buf cursor = {0};
	int r;

	if ((r = remote_open(&f.remote, x->cl, e)) < 0)
		return r;
	if (x->after_seq && (r = find_place(x, f.remote, &cursor, e)) == 0)
		f.cursor = buf_cstr(&cursor);
	if (r == 0)
		r = fetch_run(&f, e);
	if (r == 0 && f.n_lines && !f.sawlog)
		r = error_set(e, ERR_UNSUPPORTED, "this server is no sawlog: see sawlog query");
	x->warned = f.warned || f.incomplete;
	remote_close(f.remote);
	buf_fini(&cursor);
	return r;
}

/* --- out of a folder ------------------------------------------------------------------- */

/* Where metadata has no place of its own it is shown among the labels, as queries do. */
static struct str all_labels(struct export *x, const struct query_entry *en)
{
	const struct str lists[] = {en->labels, en->meta};
	struct label l;

	if (x->printer.whole || en->meta.n == 0)
		return en->labels;
	labels_builder_clear(&x->builder);
	x->builder.names_free = true;
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		struct str at = lists[i];

		for (labels_start(&at); labels_next(&at, &l);)
			labels_builder_set(&x->builder, l.name, l.value, NULL);
	}
	buf_clear(&x->labels);
	labels_builder_write(&x->builder, &x->labels);
	return buf_view(&x->labels);
}

static int print_result(struct export *x, const struct query_result *res)
{
	int r = 0;

	for (size_t i = 0; i < res->n_warnings; i++) {
		print_warning(x->cl, str_c(res->warnings[i]), &x->told);
		x->warned = true;
	}
	for (size_t i = 0; i < res->n_entries && r == 0; i++) {
		const struct query_entry *en = &res->entries[i];
		struct print_entry out = {.timestamp = en->timestamp,
			.labels = all_labels(x, en),
			.line = en->line,
			.meta = en->meta,
			.seq = en->seq};

		r = print_page(x, &out, 1);
	}
	return r;
}

/* One after the other; long lines make pages small, and they grow again. */
static int print_pages(struct export *x, const struct query *q, struct snapshot *sn,
	struct query_params *p, struct error *e)
{
	bool more = true;
	int r = 0;

	p->limit = PAGE_LINES;
	while (r == 0 && more) {
		struct query_result res;

		r = query_run(q, sn, p, &res, e);
		if (r == ERR_LIMIT && p->limit > 1) {
			p->limit /= 2;
			r = 0;
			continue;
		}
		if (r < 0)
			break;
		r = print_result(x, &res);
		if ((more = res.n_entries == p->limit)) {
			p->resume = true;
			p->resume_ns = res.entries[res.n_entries - 1].timestamp;
			p->resume_seq = res.entries[res.n_entries - 1].seq;
		}
		p->limit += p->limit < PAGE_LINES ? p->limit / 4 : 0;
		query_result_fini(&res);
	}
	return r;
}

static int resume_after(
	struct export *x, struct snapshot *sn, struct query_params *p, struct error *e)
{
	struct query_record found;
	int r = query_record(sn, x->after_seq, 0, p, &found, e);

	if (r < 0)
		return error_wrap(e, r, "--after");
	p->resume = true;
	p->resume_ns = found.self.entries->timestamp;
	p->resume_seq = x->after_seq;
	query_record_fini(&found);
	return 0;
}

static int export_store(struct export *x, struct store *s, struct account *a, struct error *e)
{
	const char *tenant = flag_string(x->cl, "tenant");
	struct query_params p = {.start_ns = x->from_ns,
		.end_ns = x->until_ns,
		.forward = true,
		.tenant = str_c(tenant && *tenant ? tenant : "default"),
		.memory_bytes = PAGE_BYTES,
		.timeout_ns = page_timeout_ns,
		.account = a};
	struct snapshot *sn = NULL;
	struct query *q = NULL;
	int r;

	if ((r = query_parse(&q, str_c(x->selector), e)) < 0)
		return r;
	if (!query_is_log(q))
		r = error_set(e, ERR_ARG, "a metric query has no lines to print");
	sn = snapshot_take(s);
	if (r == 0 && x->after_seq)
		r = resume_after(x, sn, &p, e);
	if (r == 0)
		r = print_pages(x, q, sn, &p, e);
	snapshot_free(sn);
	query_free(q);
	return r;
}

/* A store is made where there is none: not by those who only want to read. */
static int check_folder(const char *dir, struct error *e)
{
	struct buf path = {0};
	struct file_stat st;
	int r;

	buf_printf(&path, "%s/journal", dir);
	r = fs_stat(fs_real(), buf_cstr(&path), &st, e);
	buf_fini(&path);
	return r < 0 ? error_wrap(e, r, "%s holds no store", dir) : 0;
}

static int export_folder(struct export *x, const char *dir, struct error *e)
{
	/* Deletions can be taken back as long as the server's configuration says, which is not
	 * known here. */
	struct retention keep = {.delete_wait_ns = INT64_MAX};
	struct account memory;
	struct store_options o = {.fs = fs_real(),
		.clock = clock_real(),
		.dir = dir,
		.account = &memory,
		.selectors = &query_selectors,
		.retention = &keep,
		.merge_off = true};
	struct store *s = NULL;
	int r;

	if ((r = check_folder(dir, e)) < 0)
		return r;
	log_set_level(LOG_WARN);
	account_init(&memory, "memory", MEMORY_BYTES, NULL);
	if ((r = store_open(&s, &o, e)) == ERR_BUSY)
		return error_wrap(e, r, "a server has it: export with --addr, or stop it");
	if (r == 0)
		r = export_store(x, s, &memory, e);
	store_close(s);
	map_fini(&x->told);
	labels_builder_fini(&x->builder);
	buf_fini(&x->labels);
	return r;
}

/* --- the command ----------------------------------------------------------------------- */

static int run(struct command_line *cl)
{
	struct export x = {.cl = cl,
		.selector = cl->n_args ? cl->args[0] : "{}",
		.from_ns = flag_given(cl, "since") ? flag_int(cl, "since") : INT64_MIN,
		.until_ns = flag_given(cl, "until") ? flag_int(cl, "until") : INT64_MAX,
		.after_seq = (uint64_t)flag_int(cl, "after")};
	const char *dir = flag_string(cl, "data");
	struct error e = {0};
	int r;

	if (dir && flag_typed(cl, "addr")) {
		error_set(&e, ERR_ARG, "--data opens a folder and --addr asks a server: give one");
		return command_usage(cl, &e);
	}
	if (printer_init(&x.printer, cl, cl->out, isatty(fileno(cl->out)), &e) < 0)
		return command_usage(cl, &e);
	/* What a person likes to see by default makes no archive. */
	if (!flag_typed(cl, "output"))
		x.printer.format = OUTPUT_JSONL;
	x.printer.whole = x.printer.format == OUTPUT_JSON || x.printer.format == OUTPUT_JSONL;
	r = dir ? export_folder(&x, dir, &e) : export_server(&x, &e);
	if (r == 0 || x.printer.n)
		printer_fini(&x.printer);
	if (r == ERR_CLOSED && ferror(cl->out))
		return EXIT_OK;
	if (r < 0)
		return remote_fail(cl, x.selector, &e);
	return x.warned ? EXIT_TEMPORARY : EXIT_OK;
}

static const struct flag flags[] = {
	{.name = "data",
		.letter = 'd',
		.kind = FLAG_STRING,
		.value = "DIR",
		.help = "Read this folder, whose server is stopped. Default: ask the server."},
	{.name = "since",
		.aliases = "from",
		.kind = FLAG_TIME,
		.help = "Begin: how long ago (5m, 3h, 2d), a date or time, or RFC 3339. Default: the "
			"oldest record."},
	{.name = "until",
		.aliases = "to",
		.kind = FLAG_TIME,
		.help = "End, in the same forms. Default: the newest record."},
	{.name = "after",
		.kind = FLAG_INT,
		.value = "SEQ",
		.min = 1,
		.max = INT64_MAX,
		.help = "Go on behind the record of this number: that of the last line of an export "
			"that was interrupted."},
	FLAG_END,
};

const struct command command_export = {
	.name = "store export",
	.args = "[SELECTOR]",
	.summary = "print every record of a tenant",
	.description =
		"All records, or those that a log query selects, by ascending time, as one JSON "
		"object a line: {\"seq\", \"time\" in ns, \"labels\", \"metadata\", \"line\"}. Where "
		"a line is no UTF-8, \"base64\" has its bytes, and those that are none show as U+FFFD "
		"in \"line\". There is no limit, and the memory it takes does not depend on how much "
		"there is.\n\n"
		"A folder is opened as its server opens it, which recovers its journal; nothing is "
		"merged or removed. What is deleted is left out, but what is too old by the server's "
		"configuration is not, as a folder does not tell it.\n\n"
		"The exit code is 75 when something could not be read: what is said on stderr.",
	.examples = "sawlog store export | zstd > all.jsonl.zst\n"
		    "sawlog store export '{app=\"audit\"}' --from 2026-08-01 --to 2026-09-01\n"
		    "sawlog store export --data /var/lib/sawlog --tenant team-a\n"
		    "sawlog store export --after 184467 >> all.jsonl\n"
		    "  Go on where that file ends.\n",
	.flags = flags,
	.groups = {&print_flags, &remote_flags, &access_flags},
	.max_args = 1,
	.run = run,
};
