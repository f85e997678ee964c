/* SPDX-License-Identifier: Apache-2.0 */
/* `stats` and `volume`: how much there is, without reading it. */
#include <inttypes.h>

#include "cli/table.h"
#include "os/clock.h"
#include "record/time.h"

static const char *selector(const struct command_line *cl)
{
	return cl->n_args ? cl->args[0] : "{}";
}

static int ask(struct command_line *cl, struct remote *remote, struct buf *path, struct json *j,
	struct error *e)
{
	int64_t from_ns, until_ns;

	remote_window(cl, &from_ns, &until_ns);
	remote_param(path, "query", str_c(selector(cl)));
	remote_param_i64(path, "start", from_ns);
	remote_param_i64(path, "end", until_ns);
	return remote_get(remote, buf_cstr(path), j, e);
}

/* Ask for `path` and have the answer printed. */
static int run(struct command_line *cl, struct buf *path,
	int (*print)(struct command_line *cl, const struct json *j, struct error *e))
{
	struct remote *remote = NULL;
	struct error e = {0};
	struct json j;
	int r;

	if ((r = remote_open(&remote, cl, &e)) == 0 && (r = ask(cl, remote, path, &j, &e)) == 0) {
		remote_warnings(cl, &j);
		r = print(cl, &j, &e);
	}
	remote_close(remote);
	buf_fini(path);
	return r < 0 ? remote_fail(cl, selector(cl), &e) : EXIT_OK;
}

/* "12.3 MiB", or "512 B". */
static void put_size(struct table *t, uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double v = (double)bytes;
	size_t i = 0;

	for (; v >= 1024 && i + 1 < sizeof units / sizeof *units; i++)
		v /= 1024;
	table_cell(t, i && v < 100 ? "%.1f %s" : "%.0f %s", v, units[i]);
}

/* --- stats ---------------------------------------------------------------------------- */

static int print_stats(struct command_line *cl, const struct json *j, struct error *e)
{
	static const struct table_column columns[] = {
		{"STREAMS", true}, {"LINES", true}, {"BYTES", true}, {"SIZE", true}, {NULL, false}};
	struct buf text = {0};
	struct table t;

	if (j->nodes[0].type != JSON_OBJECT || !json_get(j, 0, "entries"))
		return error_set(e, ERR_NET, "the answer holds no figures: is this a Loki API?");
	if (flag_choice(cl, "output") != TABLE_DEFAULT) {
		print_json(&text, j, 0);
		fprintf(cl->out, "%.*s\n", STR_ARG(buf_view(&text)));
		buf_fini(&text);
		return 0;
	}
	table_init(&t, cl, columns);
	table_count(&t, table_u64(j, 0, "streams"));
	table_count(&t, table_u64(j, 0, "entries"));
	table_count(&t, table_u64(j, 0, "bytes"));
	put_size(&t, table_u64(j, 0, "bytes"));
	table_fini(&t);
	return 0;
}

static int run_stats(struct command_line *cl)
{
	struct buf path = {0};

	buf_c(&path, "/loki/api/v1/index/stats");
	return run(cl, &path, print_stats);
}

/* --- volume --------------------------------------------------------------------------- */

/* The text behind a sample's time: [1700000000, "123"]. */
static uint64_t sample_bytes(const struct json *j, size_t sample)
{
	size_t at = json_first(j, sample);
	uint64_t v = 0;
	double d;

	if (at >= json_end(j, sample) || (at = json_next(j, at)) >= json_end(j, sample))
		return 0;
	/* More than 2^53 is told as a float. */
	if (!str_u64(j->nodes[at].text, &v) && str_double(j->nodes[at].text, &d) && d > 0)
		v = (uint64_t)d;
	return v;
}

static void put_labels(struct table *t, const struct json *j, size_t at)
{
	struct labels_builder b = {0};
	struct buf text = {0};
	size_t metric = json_get(j, at, "metric");
	bool names = false;

	/* {"team": ""}: the volume of a label, whatever its value. */
	for (size_t i = json_first(j, metric); metric && i < json_end(j, metric);
		i = json_next(j, i + 1))
		if (j->nodes[i + 1].text.n == 0) {
			table_text(t, j->nodes[i].text);
			names = true;
			break;
		}
	if (!names) {
		struct buf labels = {0};
		if (metric)
			print_labels_of(j, metric, &b, &labels);
		labels_text(&text, buf_view(&labels));
		table_text(t, buf_view(&text));
		buf_fini(&labels);
	}
	labels_builder_fini(&b);
	buf_fini(&text);
}

static void print_vector(struct command_line *cl, const struct json *j, size_t list)
{
	static const struct table_column columns[] = {
		{"BYTES", true}, {"SIZE", true}, {"LABELS", false}, {NULL, false}};
	struct table t;

	table_init(&t, cl, columns);
	for (size_t i = json_first(j, list); i < json_end(j, list); i = json_next(j, i)) {
		size_t value = json_get(j, i, "value");
		uint64_t bytes = value ? sample_bytes(j, value) : 0;
		table_count(&t, bytes);
		put_size(&t, bytes);
		put_labels(&t, j, i);
	}
	table_fini(&t);
}

static void put_time(struct table *t, const struct json *j, size_t sample)
{
	size_t at = json_first(j, sample);
	struct buf text = {0};
	double seconds = 0;

	if (at < json_end(j, sample))
		str_double(j->nodes[at].text, &seconds);
	time_format_local(&text, (int64_t)(seconds * 1e3) * NS_PER_MS);
	table_cell(t, "%s", buf_cstr(&text));
	buf_fini(&text);
}

static void print_matrix(struct command_line *cl, const struct json *j, size_t list)
{
	static const struct table_column columns[] = {
		{"TIME", false}, {"BYTES", true}, {"SIZE", true}, {"LABELS", false}, {NULL, false}};
	struct table t;

	table_init(&t, cl, columns);
	for (size_t i = json_first(j, list); i < json_end(j, list); i = json_next(j, i)) {
		size_t values = json_get(j, i, "values");
		if (!values)
			continue;
		for (size_t k = json_first(j, values); k < json_end(j, values);
			k = json_next(j, k)) {
			put_time(&t, j, k);
			table_count(&t, sample_bytes(j, k));
			put_size(&t, sample_bytes(j, k));
			put_labels(&t, j, i);
		}
	}
	table_fini(&t);
}

static int print_volume(struct command_line *cl, const struct json *j, struct error *e)
{
	size_t data = json_get(j, 0, "data"), list = data ? json_get(j, data, "result") : 0;

	if (!list || j->nodes[list].type != JSON_ARRAY)
		return error_set(e, ERR_NET, "the answer holds no volumes: is this a Loki API?");
	if (flag_choice(cl, "output") != TABLE_DEFAULT)
		table_json(cl, j, list);
	else if (flag_given(cl, "step"))
		print_matrix(cl, j, list);
	else
		print_vector(cl, j, list);
	return 0;
}

static int run_volume(struct command_line *cl)
{
	const char *by = flag_string(cl, "by");
	struct buf path = {0}, step = {0};

	buf_c(&path, "/loki/api/v1/index/volume");
	if (flag_given(cl, "step")) {
		buf_c(&path, "_range");
		buf_printf(&step, "%.9g", (double)flag_int(cl, "step") / 1e9);
		remote_param(&path, "step", buf_view(&step));
		buf_fini(&step);
	}
	if (by)
		remote_param(&path, "targetLabels", str_c(by));
	if (flag_bool(cl, "names"))
		remote_param(&path, "aggregateBy", STR("labels"));
	remote_param_i64(&path, "limit", flag_int(cl, "limit"));
	return run(cl, &path, print_volume);
}

static const struct flag volume_flags[] = {
	{.name = "by",
		.aliases = "targetLabels",
		.kind = FLAG_STRING,
		.value = "LABEL,…",
		.help = "Labels to sum by, detected_level among them. Default: those of the selector, "
			"or for {} all labels of the streams."},
	{.name = "names",
		.aliases = "aggregateByLabels",
		.kind = FLAG_BOOL,
		.help = "Of each label, whatever its value."},
	{.name = "step", .kind = FLAG_DURATION, .help = "Over time: one figure for each step."},
	{.name = "limit",
		.letter = 'n',
		.kind = FLAG_INT,
		.min = 0,
		.max = INT64_MAX,
		.fallback = "30",
		.help = "The N largest, 0 for all."},
	FLAG_END,
};

const struct command command_stats = {
	.name = "stats",
	.args = "[SELECTOR]",
	.summary = "count streams, lines and bytes",
	.description =
		"Of all lines that a selector matches, by default of the last hour. The figures are "
		"exact, and mostly taken from counts that the store keeps, so that hardly a line is "
		"read. Line filters may follow the selector.",
	.examples = "sawlog stats '{app=\"billing\"}' --since 7d\n",
	.groups = {&window_flags, &table_flags, &remote_flags, &access_flags},
	.max_args = 1,
	.run = run_stats,
};

const struct command command_volume = {
	.name = "volume",
	.args = "[SELECTOR]",
	.summary = "show which labels have how many bytes",
	.description =
		"Bytes of the lines that a selector matches, by labels, the largest first, by default "
		"of the last hour. The figures are exact, and mostly taken from counts that the store "
		"keeps.",
	.examples = "sawlog volume --by app --since 7d\n"
		    "sawlog volume '{app=\"billing\"}' --by detected_level --step 1h --since 1d\n"
		    "sawlog volume --names\n  which labels there are on how many bytes\n",
	.flags = volume_flags,
	.groups = {&window_flags, &table_flags, &remote_flags, &access_flags},
	.max_args = 1,
	.run = run_volume,
};
