/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `doctor grafana`: asks a server what Grafana, logcli and the agents ask, and
 * says of each request whether the answer is what they need.  A request is a row
 * of a table; the test of our own server runs the same table.
 */
#include <inttypes.h>

#include "base/memory.h"
#include "cli/remote.h"
#include "codec/codec.h"
#include "net/client.h"
#include "os/clock.h"

enum { ANSWER_MAX = 64 << 20, TAIL_MS = 5000 };

struct doctor {
	struct command_line *cl;
	struct remote *remote;
	struct http_client *client;
	int64_t now_ns;
	size_t n, n_failed;
};

/* What an answer must be. */
enum want {
	WANT_ARRAY,  /* the member is a list */
	WANT_OBJECT, /* … a map */
	WANT_NUMBER,
	WANT_STRING,
	WANT_STREAMS, /* data.resultType says so */
	WANT_MATRIX,
	WANT_VECTOR,
	WANT_TWO, /* one sample that is 2 */
};

struct check {
	const char *who, *what;
	/* Behind it come start and end, of the last hour, unless it names a time. */
	const char *path;
	enum want want;
	const char *member; /* "data.result"; NULL for the whole answer */
	const char *advice;
};

#define ALL_STREAMS "%7Bservice_name%3D~%22.%2B%22%7D" /* {service_name=~".+"} */
#define HISTOGRAM                                                                                  \
	"sum%20by%20(level%2C%20detected_level)%20(count_over_time(" ALL_STREAMS "%5B60s%5D))"
#define OLD  "the server is too old for this client, or no Loki"
#define LOGS "check that queries work: sawlog query '{}'"

static const struct check checks[] = {
	{"Grafana", "health check",
		"/loki/api/v1/query?query=vector(1)%2Bvector(1)&time=4000000000", WANT_TWO, NULL,
		"Save & test of the data source will fail: is this the URL of the server itself, "
		"without a path?"},
	{"Grafana", "version", "/loki/api/v1/status/buildinfo", WANT_STRING, "version", OLD},
	{"Grafana", "names of labels", "/loki/api/v1/labels", WANT_ARRAY, "data", LOGS},
	{"Grafana", "values of a label", "/loki/api/v1/label/service_name/values", WANT_ARRAY,
		"data", LOGS},
	{"Grafana", "series", "/loki/api/v1/series?match%5B%5D=" ALL_STREAMS, WANT_ARRAY, "data",
		LOGS},
	{"Grafana", "size of a query", "/loki/api/v1/index/stats?query=" ALL_STREAMS, WANT_NUMBER,
		"bytes", OLD},
	{"Grafana", "detected labels", "/loki/api/v1/detected_labels?query=" ALL_STREAMS,
		WANT_ARRAY, "detectedLabels", OLD},
	{"Grafana", "lines of Explore",
		"/loki/api/v1/query_range?query=" ALL_STREAMS
		"&limit=1000&direction=backward&step=60000ms",
		WANT_STREAMS, NULL, LOGS},
	{"Grafana", "histogram of Explore",
		"/loki/api/v1/query_range?query=" HISTOGRAM "&step=60000ms", WANT_MATRIX, NULL,
		LOGS},
	{"Grafana", "formatting of a query", "/loki/api/v1/format_query?query=" ALL_STREAMS,
		WANT_STRING, "data", OLD},
	{"Grafana", "rules of alerts", "/prometheus/api/v1/rules", WANT_ARRAY, "data.groups",
		"switch off \"Manage alert rules in Alerting UI\" of the data source"},
	{"Drilldown", "limits and features", "/loki/api/v1/drilldown-limits", WANT_OBJECT, "limits",
		OLD},
	{"Drilldown", "services by volume",
		"/loki/api/v1/index/volume?query=" ALL_STREAMS
		"&targetLabels=service_name&limit=5000",
		WANT_VECTOR, NULL, OLD},
	{"Drilldown", "volume by level",
		"/loki/api/v1/index/volume_range?query=" ALL_STREAMS
		"&targetLabels=detected_level&step=60s",
		WANT_MATRIX, NULL, OLD},
	{"Drilldown", "patterns", "/loki/api/v1/patterns?step=60s&query=" ALL_STREAMS, WANT_ARRAY,
		"data", OLD},
	{"Drilldown", "detected fields",
		"/loki/api/v1/detected_fields?line_limit=1000&query=" ALL_STREAMS, WANT_ARRAY,
		"fields", OLD},
	{"Drilldown", "values of a field",
		"/loki/api/v1/detected_field/detected_level/values?query=" ALL_STREAMS, WANT_ARRAY,
		"values", OLD},
	{"logcli", "series", "/loki/api/v1/series?match=" ALL_STREAMS, WANT_ARRAY, "data", LOGS},
	{"logcli", "query",
		"/loki/api/v1/query_range?direction=BACKWARD&limit=30&query=" ALL_STREAMS,
		WANT_STREAMS, NULL, LOGS},
	{"logcli", "instant query",
		"/loki/api/v1/query?limit=30&query=sum(count_over_time(" ALL_STREAMS "%5B1h%5D))",
		WANT_VECTOR, NULL, LOGS},
	{"logcli", "volume", "/loki/api/v1/index/volume?limit=30&query=" ALL_STREAMS, WANT_VECTOR,
		NULL, OLD},
};

/* --- answers -------------------------------------------------------------------------- */

/* The node at "data.groups"; 0 when there is none. */
static size_t find(const struct json *j, const char *member)
{
	struct str rest = str_c(member);
	char name[64];
	size_t at = 0;

	while (rest.n > 0) {
		at = json_get(j, at, str_copy(str_cut(&rest, '.'), name, sizeof name));
		if (!at)
			return 0;
	}
	return at;
}

static struct str text_at(const struct json *j, const char *member)
{
	size_t at = find(j, member);

	return at ? j->nodes[at].text : STR_NONE;
}

static int want_member(
	const struct json *j, const char *member, enum json_type type, struct error *e)
{
	static const char *const names[] = {[JSON_ARRAY] = "list",
		[JSON_OBJECT] = "map",
		[JSON_NUMBER] = "number",
		[JSON_STRING] = "text"};
	size_t at = find(j, member);

	if (at && j->nodes[at].type == type)
		return 0;
	return error_set(
		e, ERR_NET, "the answer has no %s \"%s\"", names[type] ? names[type] : "", member);
}

static int want_result(const struct json *j, const char *type, struct error *e)
{
	struct str got = text_at(j, "data.resultType");

	if (str_eq_c(got, type))
		return want_member(j, "data.result", JSON_ARRAY, e);
	return error_set(e, ERR_NET, "the answer is of type \"%.*s\", not %s",
		STR_ARG(str_sub(got, 0, 50)), type);
}

/* [{"metric": {}, "value": [t, "2"]}] */
static int want_two(const struct json *j, struct error *e)
{
	size_t list = find(j, "data.result"), first, value, text;

	if (!list || j->nodes[list].type != JSON_ARRAY || j->nodes[list].inside == 0)
		return error_set(e, ERR_NET, "the answer has no sample");
	first = json_first(j, list);
	value = json_get(j, first, "value");
	text = value ? json_next(j, json_first(j, value)) : 0;
	if (json_next(j, first) < json_end(j, list) || !text || text >= json_end(j, value) ||
		!str_eq_c(j->nodes[text].text, "2"))
		return error_set(e, ERR_NET, "the answer is not the one sample 2");
	return 0;
}

static int judge(const struct check *c, const struct json *j, struct error *e)
{
	switch (c->want) {
	case WANT_ARRAY: return want_member(j, c->member, JSON_ARRAY, e);
	case WANT_OBJECT: return want_member(j, c->member, JSON_OBJECT, e);
	case WANT_NUMBER: return want_member(j, c->member, JSON_NUMBER, e);
	case WANT_STRING: return want_member(j, c->member, JSON_STRING, e);
	case WANT_STREAMS: return want_result(j, "streams", e);
	case WANT_MATRIX: return want_result(j, "matrix", e);
	case WANT_VECTOR: return want_result(j, "vector", e);
	case WANT_TWO: return want_two(j, e);
	}
	return 0;
}

static void tell(struct doctor *d, const char *who, const char *what, const struct error *e,
	const char *advice)
{
	d->n++;
	if (!e) {
		fprintf(d->cl->out, "ok      %s: %s\n", who, what);
		return;
	}
	d->n_failed++;
	fprintf(d->cl->out, "failed  %s: %s: %s\n        %s\n", who, what, e->text, advice);
}

static int ask(struct doctor *d, const struct check *c, struct error *e)
{
	struct buf path = {0};
	struct json j;
	int r;

	buf_c(&path, c->path);
	if (str_find(buf_view(&path), STR("time=")) < 0) {
		remote_param_i64(&path, "start", d->now_ns - 3600 * NS_PER_SEC);
		remote_param_i64(&path, "end", d->now_ns);
	}
	if ((r = remote_get(d->remote, buf_cstr(&path), &j, e)) == 0)
		r = judge(c, &j, e);
	buf_fini(&path);
	return r;
}

/* --- what is no row of the table ------------------------------------------------------- */

/* Clients show the sentence as it is. */
static int check_refusal(struct doctor *d, struct error *e)
{
	struct http_answer a = {0};
	int r = http_client_call(d->client, "GET", "/loki/api/v1/query_range?query=%7B", STR_NONE,
		NULL, NULL, ANSWER_MAX, &a, e);

	if (r == 0 && a.status != 400)
		r = error_set(e, ERR_NET, "status %d, not 400", a.status);
	else if (r == 0 && str_find(buf_view(&a.body), STR("parse error")) < 0)
		r = error_set(e, ERR_NET, "the answer names no parse error");
	http_answer_fini(&a);
	return r;
}

static int check_form(struct doctor *d, struct error *e)
{
	struct http_answer a = {0};
	int r = http_client_call(d->client, "POST", "/loki/api/v1/query_range",
		STR("query=" ALL_STREAMS "&limit=1"), "application/x-www-form-urlencoded", NULL,
		ANSWER_MAX, &a, e);

	if (r == 0 && a.status != 200)
		r = remote_status_error(a.status, buf_view(&a.body), e);
	http_answer_fini(&a);
	return r;
}

static int check_ready(struct doctor *d, struct error *e)
{
	struct str text;

	return remote_get_raw(d->remote, "/ready", &text, e);
}

static int check_tail(struct doctor *d, struct error *e)
{
	struct ws_client *ws = NULL;
	int r = ws_client_open(&ws, remote_options(d->remote),
		"/loki/api/v1/tail?limit=10&delay_for=0&query=" ALL_STREAMS, e);

	ws_client_free(ws);
	return r;
}

/* --- pushes ---------------------------------------------------------------------------- */

#define PUSHED "sawlog doctor was here"

static int push(
	struct doctor *d, struct str body, const char *type, const char *encoding, struct error *e)
{
	struct http_answer a = {0};
	int r = http_client_call(
		d->client, "POST", "/loki/api/v1/push", body, type, encoding, ANSWER_MAX, &a, e);

	if (r == 0 && a.status != 204)
		r = a.status / 100 == 2 ? error_set(e, ERR_NET, "status %d, not 204", a.status)
					: remote_status_error(a.status, buf_view(&a.body), e);
	http_answer_fini(&a);
	return r;
}

static void put_json_push(const struct doctor *d, struct buf *out)
{
	buf_printf(out,
		"{\"streams\":[{\"stream\":{\"app\":\"sawlog-doctor\"},\"values\":[[\"%" PRId64
		"\",\"" PUSHED "\"]]}]}",
		d->now_ns);
}

static int check_push_json(struct doctor *d, struct error *e)
{
	struct buf body = {0};
	int r;

	put_json_push(d, &body);
	r = push(d, buf_view(&body), "application/json", NULL, e);
	buf_fini(&body);
	return r;
}

static int check_push_gzip(struct doctor *d, struct error *e)
{
	struct buf body = {0}, packed = {0};
	int r;

	put_json_push(d, &body);
	gzip_pack(&packed, buf_view(&body), 6);
	r = push(d, buf_view(&packed), "application/json", "gzip", e);
	buf_fini(&body);
	buf_fini(&packed);
	return r;
}

/* A length-delimited field of a protobuf message. */
static void put_field(struct buf *out, unsigned number, struct str s)
{
	varint_put(out, number << 3 | 2);
	varint_put(out, s.n);
	buf_str(out, s);
}

/* PushRequest {streams: [{labels, entries: [{timestamp {seconds, nanos}, line}]}]}, as a snappy
 * block of one literal. */
static void put_protobuf_push(const struct doctor *d, struct buf *out)
{
	struct buf time = {0}, entry = {0}, stream = {0}, request = {0};

	varint_put(&time, 1 << 3);
	varint_put(&time, (uint64_t)(d->now_ns / NS_PER_SEC));
	varint_put(&time, 2 << 3);
	varint_put(&time, (uint64_t)(d->now_ns % NS_PER_SEC));
	put_field(&entry, 1, buf_view(&time));
	put_field(&entry, 2, STR(PUSHED));
	put_field(&stream, 1, STR("{app=\"sawlog-doctor\"}"));
	put_field(&stream, 2, buf_view(&entry));
	put_field(&request, 1, buf_view(&stream));
	varint_put(out, request.n);
	buf_char(out, (char)(60 << 2)); /* a literal whose length, less one, is the next byte */
	buf_char(out, (char)(request.n - 1));
	buf_str(out, buf_view(&request));
	buf_fini(&time);
	buf_fini(&entry);
	buf_fini(&stream);
	buf_fini(&request);
}

static int check_push_protobuf(struct doctor *d, struct error *e)
{
	struct buf body = {0};
	int r;

	put_protobuf_push(d, &body);
	r = push(d, buf_view(&body), "application/x-protobuf", NULL, e);
	buf_fini(&body);
	return r;
}

static const struct special {
	const char *who, *what;
	int (*run)(struct doctor *d, struct error *e);
	bool pushes; /* it writes: with --push alone */
	const char *advice;
} specials[] = {
	{"Grafana", "mistakes are told as text", check_refusal, false,
		"a proxy in front of the server changes its answers: let them through"},
	{"Grafana", "queries as form POST", check_form, false,
		"a proxy in front of the server refuses POST: let it through"},
	{"Grafana", "live tail", check_tail, false,
		"let a proxy in front of the server pass WebSockets on (Upgrade, Connection)"},
	{"agents", "ready check", check_ready, false,
		"the server is starting, or its disk is full"},
	{"Fluent Bit, Vector", "push as JSON", check_push_json, true,
		"a token needs the scope ingest; a proxy must let POST through"},
	{"Vector", "push as JSON with gzip", check_push_gzip, true,
		"a proxy must not take Content-Encoding away"},
	{"Promtail, Alloy", "push as protobuf", check_push_protobuf, true,
		"a proxy must not change the body"},
};

/* --- the command ----------------------------------------------------------------------- */

static int examine(struct doctor *d)
{
	bool pushes = flag_bool(d->cl, "push");
	struct error e = {0};

	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
		const struct check *c = &checks[i];
		int r = ask(d, c, &e);
		tell(d, c->who, c->what, r < 0 ? &e : NULL, c->advice);
		/* Nobody is there, or nobody is let in: the rest would say the same. */
		if (r < 0 && i == 0 && (remote_status(d->remote) == 0 || e.code == ERR_DENIED))
			return EXIT_NO_MATCH;
	}
	for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
		const struct special *s = &specials[i];
		if (s->pushes && !pushes)
			continue;
		tell(d, s->who, s->what, s->run(d, &e) < 0 ? &e : NULL, s->advice);
	}
	return d->n_failed ? EXIT_NO_MATCH : EXIT_OK;
}

static int run_grafana(struct command_line *cl)
{
	struct doctor d = {.cl = cl, .now_ns = clock_now_ns(clock_real())};
	struct error e = {0};
	int r = cl->n_args ? remote_open_url(&d.remote, cl, cl->args[0], &e)
			   : remote_open(&d.remote, cl, &e);

	if (r == 0)
		r = http_client_new(&d.client, remote_options(d.remote), &e);
	if (r < 0) {
		remote_close(d.remote);
		return command_fail(cl, &e);
	}
	r = examine(&d);
	fprintf(cl->err, "%zu checks, %zu failed\n", d.n, d.n_failed);
	http_client_free(d.client);
	remote_close(d.remote);
	return r;
}

static const struct flag grafana_flags[] = {
	{.name = "push",
		.kind = FLAG_BOOL,
		.help = "Try the forms of a push, too: this stores the same line of {app=\"sawlog-doctor\"} "
			"three times."},
	FLAG_END,
};

static const struct command command_grafana = {
	.name = "doctor grafana",
	.args = "[URL]",
	.summary = "ask a server what Grafana, logcli and the agents ask",
	.description =
		"Makes the requests of Grafana's Loki data source, its Explore and Logs Drilldown, of "
		"logcli and of the agents that push, and says of each whether the answer is what they "
		"need. Run it where Grafana runs, with the URL and the credentials of the data source: "
		"then it also finds what a proxy between them does to the requests.\n\n"
		"One line a check, and below one that failed what to do. The exit code is 1 when one "
		"failed. Nothing is stored but with --push.",
	.examples = "sawlog doctor grafana\n"
		    "sawlog doctor grafana https://logs.example.org --token-file token --push\n",
	.flags = grafana_flags,
	.groups = {&remote_flags, &access_flags},
	.max_args = 1,
	.run = run_grafana,
};

static const struct command *const subs[] = {&command_grafana, NULL};

const struct command command_doctor = {
	.name = "doctor",
	.args = "",
	.summary = "find out why something does not work with this server",
	.description = "Asks what other programs ask, and says what is wrong with the answers.",
	.subs = subs,
};
