/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `store`: looking after a data folder.  verify and stats change nothing and
 * may be asked beside a server; repair wants the server stopped.
 */
#include <inttypes.h>

#include "cli/config.h"
#include "cli/export.h"
#include "cli/forecast.h"
#include "cli/table.h"
#include "query/selector.h"
#include "store/tools.h"

static const struct flag data_flag[] = {
	{.name = "data",
		.letter = 'd',
		.kind = FLAG_STRING,
		.value = "DIR",
		.env = "SAWLOG_DATA",
		.help = "The folder that `sawlog serve --data` was given. Default: the one that serve "
			"takes."},
	FLAG_END,
};

static const struct flag_group data_group = {.title = "Folder", .flags = data_flag};

static const char *data_folder(struct command_line *cl)
{
	const char *given = flag_string(cl, "data");
	struct buf path = {0};
	char *out;

	if (given)
		return given;
	config_default_data(&path);
	out = ARENA_ARRAY(&cl->arena, char, path.n + 1);
	str_copy(buf_view(&path), out, path.n + 1);
	buf_fini(&path);
	return out;
}

/* Sentences and figures */

struct report {
	struct command_line *cl;
	struct buf problems; /* JSON strings, separated by commas */
	size_t n;
	bool json;
};

static void on_sentence(void *ctx, const char *sentence)
{
	struct report *rp = ctx;

	if (rp->json) {
		buf_c(&rp->problems, rp->n > 0 ? "," : "");
		buf_json(&rp->problems, str_c(sentence));
	} else {
		fprintf(rp->cl->out, "%s\n", sentence);
	}
	rp->n++;
}

static void print_check(struct report *rp, const struct store_check *c, const char *list)
{
	FILE *out = rp->cl->out;

	if (rp->json) {
		fprintf(out,
			"{\"files\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"blocks\":%" PRIu64
			",\"records\":%" PRIu64 ",\"damaged_files\":%" PRIu64
			",\"damaged_blocks\":%" PRIu64 ",\"lost_records\":%" PRIu64
			",\"%s\":[%.*s]}\n",
			c->files, c->bytes, c->blocks, c->records, c->damaged_files,
			c->damaged_blocks, c->lost_records, list, STR_ARG(buf_view(&rp->problems)));
		return;
	}
	fprintf(out,
		"%" PRIu64 " files, %" PRIu64 " bytes, %" PRIu64 " blocks, %" PRIu64
		" records in parts: ",
		c->files, c->bytes, c->blocks, c->records);
	if (c->damaged_files == 0)
		fprintf(out, "all well\n");
	else
		fprintf(out, "%" PRIu64 " damaged files, %" PRIu64 " records that cannot be read\n",
			c->damaged_files, c->lost_records);
}

static struct report report_of(struct command_line *cl)
{
	return (struct report){.cl = cl, .json = flag_choice(cl, "output") != TABLE_DEFAULT};
}

static int run_verify(struct command_line *cl)
{
	struct report rp = report_of(cl);
	struct store_check c;
	struct error e = {0};
	int r = store_verify(fs_real(), data_folder(cl), &c, on_sentence, &rp, &e);

	if (r == 0)
		print_check(&rp, &c, "problems");
	buf_fini(&rp.problems);
	if (r < 0)
		return command_fail(cl, &e);
	return c.damaged_files > 0 ? EXIT_NO_MATCH : EXIT_OK;
}

static int run_repair(struct command_line *cl)
{
	struct report rp = report_of(cl);
	struct store_check c;
	struct error e = {0};
	int r = store_repair(fs_real(), data_folder(cl), &c, on_sentence, &rp, &e);

	if (r == 0)
		print_check(&rp, &c, "done");
	buf_fini(&rp.problems);
	return r < 0 ? command_fail(cl, &e) : EXIT_OK;
}

/* Statistics */

static const char *const kinds[] = {[STATS_FILES] = "files",
	[STATS_COLUMNS] = "columns",
	[STATS_TEMPLATES] = "templates",
	[STATS_STREAMS] = "streams",
	[STATS_DAYS] = "days"};

struct stats_print {
	struct command_line *cl;
	struct table t;
	enum stats_of of;
	bool open, json;
	size_t n;
};

#define COLUMNS(what)                                                                              \
	{                                                                                          \
		{"STORED", true}, {"LINES", true}, {"RECORDS", true}, {"RATIO", true},             \
			{what, false}, {NULL, false},                                              \
	}

static void begin_table(struct stats_print *p, enum stats_of of)
{
	static const struct table_column columns[][6] = {[STATS_FILES] = COLUMNS("FILES"),
		[STATS_COLUMNS] = COLUMNS("COLUMN"),
		[STATS_TEMPLATES] = COLUMNS("PATTERN"),
		[STATS_STREAMS] = COLUMNS("STREAM"),
		[STATS_DAYS] = COLUMNS("DAY")};

	if (p->open) {
		table_fini(&p->t);
		fputc('\n', p->cl->out);
	}
	table_init(&p->t, p->cl, columns[of]);
	p->open = true;
	p->of = of;
}

static void on_row(void *ctx, const struct stats_row *row)
{
	struct stats_print *p = ctx;
	struct buf name = {0};

	if (p->json) {
		buf_json(&name, row->name);
		fprintf(p->cl->out,
			"%s{\"of\":\"%s\",\"name\":%.*s,\"stored\":%" PRIu64 ",\"lines\":%" PRIu64
			",\"records\":%" PRIu64 "}",
			p->n++ == 0                                  ? ""
			: flag_choice(p->cl, "output") == TABLE_JSON ? ",\n"
								     : "\n",
			kinds[row->of], STR_ARG(buf_view(&name)), row->stored, row->raw,
			row->records);
		buf_fini(&name);
		return;
	}
	if (!p->open || p->of != row->of)
		begin_table(p, row->of);
	table_count(&p->t, row->stored);
	table_count(&p->t, row->raw);
	table_count(&p->t, row->records);
	if (row->raw > 0 && row->stored > 0)
		table_cell(&p->t, "%.1f", (double)row->raw / (double)row->stored);
	else
		table_cell(&p->t, "%s", "");
	table_text(&p->t, row->name);
}

/* What retention will take.  A store that no server was told of retention for has none to tell. */
static int tell_forecast(struct stats_print *p, struct error *e)
{
	struct forecast f;
	struct buf out = {0};
	int r = store_forecast(
		&f, fs_real(), data_folder(p->cl), &query_selectors, p->cl->now_ns, e);

	if (r < 0)
		return r == ERR_NOT_FOUND ? 0 : r;
	if (p->json) {
		forecast_json(
			&out, &f, flag_choice(p->cl, "output") == TABLE_JSON ? ",\n" : "\n", &p->n);
		fprintf(p->cl->out, "%.*s", STR_ARG(buf_view(&out)));
	} else {
		forecast_print(p->cl, &f);
	}
	buf_fini(&out);
	forecast_fini(&f);
	return 0;
}

static int run_stats(struct command_line *cl)
{
	bool array = flag_choice(cl, "output") == TABLE_JSON;
	struct stats_print p = {.cl = cl, .json = flag_choice(cl, "output") != TABLE_DEFAULT};
	int64_t limit = flag_int(cl, "limit");
	struct error e = {0};
	int r;

	if (array)
		fputc('[', cl->out);
	r = store_stats(fs_real(), data_folder(cl),
		limit == 0 || (uint64_t)limit > SIZE_MAX ? SIZE_MAX : (size_t)limit, on_row, &p,
		&e);
	if (p.open)
		table_fini(&p.t);
	if (r == 0)
		r = tell_forecast(&p, &e);
	if (array)
		fputc(']', cl->out);
	if (p.json && (array || p.n > 0))
		fputc('\n', cl->out);
	return r < 0 ? command_fail(cl, &e) : EXIT_OK;
}

static const struct flag stats_flags[] = {
	{.name = "limit",
		.letter = 'n',
		.kind = FLAG_INT,
		.min = 0,
		.max = INT64_MAX,
		.fallback = "20",
		.help = "At most N rows of each kind, the largest first; 0 for all."},
	FLAG_END,
};

static const struct command command_verify = {
	.name = "store verify",
	.args = "",
	.summary = "read all of a store and say what is damaged",
	.description =
		"Reads every file under --data, checks every checksum and decodes every record. Each "
		"problem is one line: which file and block, what is wrong, how many records it "
		"costs, and what to do. Changes nothing, and works beside a server.\n\n"
		"The exit code is 0 when all is well and 1 when something is damaged.",
	.examples = "sawlog store verify --data /var/lib/sawlog\n",
	.groups = {&data_group, &table_flags},
	.run = run_verify,
};

static const struct command command_repair = {
	.name = "store repair",
	.args = "",
	.summary = "mend a damaged store",
	.description =
		"For a data folder whose server is stopped. Parts with damaged blocks are written "
		"anew without these blocks, or are left to the next start where the journal still "
		"has their records; the damaged file stays beside, as NAME.damaged, and can be "
		"removed when nobody needs it. The manifest is made to fit, leftovers go. What is "
		"damaged in the journal is stepped over by the next start.",
	.examples = "sawlog store repair --data /var/lib/sawlog\n",
	.groups = {&data_group, &table_flags},
	.run = run_repair,
};

static const struct command command_store_stats = {
	.name = "store stats",
	.args = "",
	.summary = "say what takes the bytes of a store, and what will go when",
	.description =
		"Stored bytes by kind of file, column, kind of line, stream and day; where it makes "
		"sense also the bytes of the lines, the records, and how many times smaller they "
		"became. Ids that are kept once for many lines count with their pool, not with the "
		"kinds of lines. Changes nothing, and works beside a server.\n\n"
		"Then what retention will take, by the rules that the server of the store was given "
		"last: for each rule its records, the oldest of them and when that goes; and day by "
		"day when the records are gone, by age or by size, whichever comes first, if as much "
		"comes as in the last seven days. Times are UTC. Records that are in the journal "
		"alone (the newest) do not count yet.",
	.examples = "sawlog store stats --data /var/lib/sawlog\n"
		    "sawlog store stats -n 0 -o jsonl | jq 'select(.of == \"streams\")'\n",
	.flags = stats_flags,
	.groups = {&data_group, &table_flags},
	.run = run_stats,
};

static const struct command *const subs[] = {
	&command_verify, &command_store_stats, &command_export, &command_repair, NULL};

const struct command command_store = {
	.name = "store",
	.args = "",
	.summary = "verify, measure, export and mend what is stored",
	.description = "For the folder that `sawlog serve --data` was given.",
	.subs = subs,
};
