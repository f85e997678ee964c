/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/alerting.h"
#include "cli/input_flags.h"
#include "input/exposed.h"
#include "os/process.h"
#include "output/outputs.h"
#include "query/remote.h"
#include "query/selector.h"
#include "record/batch.h"

enum { RETENTION_SIZE_MIN = 16 << 20 };

static const char *const durability_values[] = {"sync", "os", NULL};

#define FIELD(part, field, ...)                                                                    \
	{                                                                                          \
		.name = #field,                                                                    \
		.offset = offsetof(struct serve_config, part.field) -                              \
			  offsetof(struct serve_config, part),                                     \
		__VA_ARGS__                                                                        \
	}

static const struct option http_options[] = {
	FIELD(http, listen, .kind = OPT_LISTEN, .fallback = "127.0.0.1:3100",
		.help = "Addresses of the API and the page. Beyond loopback this needs tls and auth "
			"(or tls.client_ca), or insecure_allow must name the address."),
	FIELD(http, tls, .kind = OPT_OBJECT, .fields = tls_options,
		.help = "Serve HTTPS on all of these addresses. Files that were replaced are read "
			"at a reload."),
	OPTION_END,
};

static const struct option auth_options[] = {
	FIELD(auth, tokens_file, .kind = OPT_PATH,
		.help = "File of `sawlog token create`: each request must show one of its tokens. "
			"A change in it counts within a second."),
	OPTION_END,
};

static const struct option discover_options[] = {
	FIELD(discover, service_name, .kind = OPT_BOOL, .fallback = "true",
		.help = "Add the label service_name to streams without it, as Loki does."),
	FIELD(discover, level, .kind = OPT_BOOL, .fallback = "true",
		.help = "Add detected_level to records, taken from metadata or the line, as Loki does."),
	OPTION_END,
};

bool config_retention_size(struct str text, uint64_t *bytes, unsigned *percent)
{
	uint64_t v;

	*bytes = 0;
	*percent = 0;
	if (!str_ends(text, STR("%")))
		return size_parse(text, bytes) && (*bytes == 0 || *bytes >= RETENTION_SIZE_MIN);
	if (!str_u64(str_sub(text, 0, text.n - 1), &v) || v == 0 || v > 100)
		return false;
	*percent = (unsigned)v;
	return true;
}

static int check_size(struct str text, struct error *e)
{
	uint64_t bytes;
	unsigned percent;

	if (config_retention_size(text, &bytes, &percent))
		return 0;
	return error_set(e, ERR_ARG,
		"must be a share of the disk from 1%% to 100%%, a size of at least 16MiB, or 0 for no "
		"limit");
}

static int check_match(struct str text, struct error *e)
{
	return selector_check(text, false, e);
}

static const struct option logql_options[] = {
	FIELD(logql, strict, .kind = OPT_BOOL, .fallback = "false",
		.help = "Refuse queries that Loki refuses: an empty selector, and what is beyond its "
			"language. A request may ask for that itself, with strict=true."),
	OPTION_END,
};

/* Shorter ones would hide what was stored a moment ago. */
#define AGE_MIN (60 * INT64_C(1000000000))

static const struct option rule_options[] = {
	OPTION(struct config_rule, match, .kind = OPT_STRING, .required = true,
		.check = check_match,
		.help = "Streams that it is for: '{app=\"debug\"}'. The first rule that matches "
			"counts."),
	OPTION(struct config_rule, age, .kind = OPT_DURATION, .required = true, .min = AGE_MIN,
		.max = INT64_MAX, .help = "How long their records stay."),
	OPTION_END,
};

static const struct option retention_options[] = {
	FIELD(retention, age, .kind = OPT_DURATION, .min = 0, .max = INT64_MAX,
		.help = "Records older than it are dropped, and refused when they come. Not set: none "
			"is too old."),
	FIELD(retention, size, .kind = OPT_STRING, .fallback = "80%", .check = check_size,
		.help = "When everything under the data folder takes more, the oldest records go: a "
			"size, or a share of what is stored and what is free. 0 is no limit."),
	FIELD(retention, delete_wait, .kind = OPT_DURATION, .fallback = "10m", .min = 0,
		.max = INT64_C(365) * 86400 * 1000000000,
		.help = "A deletion hides at once, and can be taken back so long before it is "
			"carried out on the disk."),
	FIELD(retention, rules, .kind = OPT_LIST, .fields = rule_options,
		.size = sizeof(struct config_rule), .help = "Other ages for some streams."),
	OPTION_END,
};

static const struct option limit_options[] = {
	FIELD(limits, max_line, .kind = OPT_SIZE, .fallback = "256KiB", .min = 1024,
		.max = 16 << 20,
		.help = "A longer pushed line is cut there, marked and counted. Files have no limit."),
	FIELD(limits, max_body, .kind = OPT_SIZE, .fallback = "32MiB", .min = 64 << 10,
		.max = BATCH_BYTES_MAX / 2,
		.help = "Largest push after decompression; half of it as sent."),
	FIELD(limits, query_timeout, .kind = OPT_DURATION, .fallback = "30s", .min = 1000000,
		.max = INT64_C(3600) * 1000000000,
		.help = "A query is ended after it, with a sentence."),
	OPTION_END,
};

static int check_peer(struct str text, struct error *e)
{
	struct remote *r;
	char *url = str_dup(text);
	int code = remote_new(&r, &(struct remote_options){.url = url}, e);

	if (code == 0)
		remote_free(r);
	free(url);
	return code;
}

static const struct option peer_options[] = {
	FIELD(peer, token_file, .kind = OPT_PATH,
		.help = "File with the token that peers ask for, with the scope read; for several "
			"tenants one of tenant \"*\". Read when a connection is made."),
	FIELD(peer, ca, .kind = OPT_PATH,
		.help = "File of the certificates that sign those of peers, PEM. Default: the "
			"system's."),
	FIELD(peer, timeout, .kind = OPT_DURATION, .fallback = "10s", .min = 100000000,
		.max = INT64_C(300) * 1000000000,
		.help = "A page of a peer that takes longer is given up; the answer is without it, "
			"and says so. Half of limits.query_timeout at most."),
	OPTION_END,
};

const struct option serve_options[] = {
	OPTION(struct serve_config, data, .kind = OPT_PATH,
		.help = "Folder of the store. Default: /var/lib/sawlog for root, else "
			"~/.local/state/sawlog."),
	OPTION(struct serve_config, http, .kind = OPT_OBJECT, .fields = http_options,
		.help = "The HTTP server."),
	OPTION(struct serve_config, auth, .kind = OPT_OBJECT, .fields = auth_options,
		.help = "Who gets in."),
	OPTION(struct serve_config, memory, .kind = OPT_SIZE, .fallback = "256MiB", .min = 16 << 20,
		.max = INT64_C(1) << 40,
		.help = "Ceiling of the memory held for records, queries and buffers. What does not fit "
			"is refused (429) or waits; nothing is lost."),
	OPTION(struct serve_config, durability, .kind = OPT_ENUM, .values = durability_values,
		.fallback = "sync",
		.help = "sync: acknowledged lines survive a power cut. os: they survive the end of the "
			"process, but a power cut may lose the last 30 s."),
	OPTION(struct serve_config, retention, .kind = OPT_OBJECT, .fields = retention_options,
		.help = "How long records stay."),
	OPTION(struct serve_config, discover, .kind = OPT_OBJECT, .fields = discover_options,
		.help = "What is added to records at ingest."),
	OPTION(struct serve_config, logql, .kind = OPT_OBJECT, .fields = logql_options,
		.help = "How queries are read."),
	OPTION(struct serve_config, limits, .kind = OPT_OBJECT, .fields = limit_options,
		.help = "Limits of single lines, pushes and queries."),
	OPTION(struct serve_config, peers, .kind = OPT_STRINGS, .check = check_peer,
		.help = "URLs of other servers whose records belong to the answers of this one: "
			"http://HOST:3100. The list may be the same on each of them: a server "
			"knows itself in it."),
	OPTION(struct serve_config, peer, .kind = OPT_OBJECT, .fields = peer_options,
		.help = "How they are asked."),
	OPTION(struct serve_config, loggregator, .kind = OPT_OBJECT, .fields = loggregator_options,
		.help = "How the clients of Loggregator and log-cache are answered."),
	OPTION(struct serve_config, insecure_allow, .kind = OPT_STRINGS,
		.help = "Listen addresses beyond loopback, in full (0.0.0.0:3100, "
			"udp://0.0.0.0:514), that may serve anyone who reaches them."),
	OPTION(struct serve_config, inputs, .kind = OPT_KINDS, .kinds = &input_kinds,
		.help = "Where records come from, besides the pushes to the HTTP server."),
	OPTION(struct serve_config, outputs, .kind = OPT_KINDS, .kinds = &output_kinds,
		.help = "Where records go, besides the store."),
	OPTION(struct serve_config, drains, .kind = OPT_OBJECT, .fields = drains_options,
		.help = "Where single applications' records go, and who may say so."),
	OPTION(struct serve_config, alerts, .kind = OPT_OBJECT, .fields = alert_options,
		.help = "Rules that are watched, and who is told."),
	OPTION(struct serve_config, route, .kind = OPT_OBJECT, .fields = route_options,
		.help = "For `sawlog route` alone: the servers that records are handed to, and that "
			"answers come from."),
	OPTION_END,
};

void config_default_data(struct buf *out)
{
	if (geteuid() == 0)
		buf_c(out, "/var/lib/sawlog");
	else
		process_state_folder(out);
}

bool config_open_to_all(const struct serve_config *c)
{
	return !c->http.tls.cert || (!c->auth.tokens_file && !c->http.tls.client_ca);
}

static void problem(struct conf_errors *errors, const char *file, const char *fmt, ...)
	PRINTF(3, 4);

static void problem(struct conf_errors *errors, const char *file, const char *fmt, ...)
{
	va_list ap;

	buf_printf(&errors->text, "%s: ", file ? file : "sawlog");
	va_start(ap, fmt);
	buf_vprintf(&errors->text, fmt, ap);
	va_end(ap);
	buf_char(&errors->text, '\n');
	errors->n++;
}

/* Where the problems of open addresses go. */
struct open_check {
	const struct serve_config *config;
	const char *file;
	struct conf_errors *errors;
};

/* OPT_LISTEN takes the schemes of inputs too; the API has none. */
static bool check_http_addresses(const struct open_check *o)
{
	const struct strings *listen = &o->config->http.listen;
	bool plain = true;

	for (size_t i = 0; i < listen->n; i++) {
		struct str address = str_c(listen->items[i]);

		if (str_find(address, STR("/")) < 0 && !str_eq(address, STR("stdin:")))
			continue;
		plain = false;
		problem(o->errors, o->file,
			"http.listen: %s is more than an address: write HOST:PORT alone, as "
			"127.0.0.1:3100 (for https set http.tls)",
			listen->items[i]);
	}
	return plain;
}

static void check_http(const struct open_check *o)
{
	const struct serve_config *c = o->config;
	const char *missing =
		!c->http.tls.cert ? "http.tls" : "auth.tokens_file (or http.tls.client_ca)";

	if (!check_http_addresses(o) || !config_open_to_all(c))
		return;
	for (size_t i = 0; i < c->http.listen.n; i++)
		if (!exposed_allowed(c->http.listen.items[i], &c->insecure_allow))
			problem(o->errors, o->file,
				"http.listen: %s is open beyond this machine without %s%s: set it, "
				"or listen on 127.0.0.1, or name %s in insecure_allow to serve "
				"anyone who reaches it",
				c->http.listen.items[i], missing,
				c->http.tls.cert || c->auth.tokens_file ? "" : " and auth",
				c->http.listen.items[i]);
}

static void tell_open(void *arg, const char *sentence)
{
	const struct open_check *o = arg;

	problem(o->errors, o->file, "%s", sentence);
}

static void check_open(const struct serve_config *c, const char *file, struct conf_errors *errors)
{
	struct open_check o = {.config = c, .file = file, .errors = errors};

	check_http(&o);
	exposed_inputs(&c->inputs, &c->insecure_allow, tell_open, &o);
}

static void check_tls(const struct serve_config *c, const char *file, struct conf_errors *errors)
{
	const struct tls_settings *t = &c->http.tls;

	if (!t->cert != !t->key)
		problem(errors, file,
			"http.tls: %s is missing: TLS needs a certificate and its key",
			t->key ? "cert" : "key");
	else if (t->client_ca && !t->cert)
		problem(errors, file, "http.tls: client_ca asks for TLS: set cert and key as well");
}

/* What a router leaves to its servers. */
static void check_router(const struct serve_config *c, const char *file, struct conf_errors *errors)
{
	const struct alert_settings *a = &c->alerts;
	struct error e;

	if (route_check(&c->route, &e) < 0)
		problem(errors, file, "%s", e.text);
	if (c->peers.n)
		problem(errors, file,
			"peers: a router asks the servers of route.zones: name them there");
	if (c->outputs.n)
		problem(errors, file,
			"outputs: a router keeps no records to deliver: configure outputs at its "
			"servers");
	if (c->drains.apps.n || c->drains.from_envelopes)
		problem(errors, file,
			"drains: a router keeps no records to deliver: configure drains at its "
			"servers");
	if (a->groups_file.n || a->ready.n || a->notify.n)
		problem(errors, file,
			"alerts: a router watches no rules: configure alerts at its servers, with "
			"each other as peers");
}

static void check_role(
	const struct serve_config *c, bool router, const char *file, struct conf_errors *errors)
{
	if (router)
		check_router(c, file, errors);
	else if (c->route.zones.n)
		problem(errors, file,
			"route: this is the configuration of a router: run it as `sawlog route -c "
			"FILE`");
}

static int load(struct serve_config *out, const struct conf_source *src, const char *const *inputs,
	bool router, struct arena *arena, struct conf_errors *errors)
{
	struct buf data = {0};
	struct error e;
	int r;

	*out = (struct serve_config){0};
	if ((r = conf_load(out, serve_options, src, arena, errors)) < 0)
		return r;
	if (inputs && (r = input_flags_add(&out->inputs, inputs, arena, errors)) < 0)
		return r;
	check_role(out, router, src->file, errors);
	check_tls(out, src->file, errors);
	check_open(out, src->file, errors);
	if (outputs_check(&out->outputs, &e) < 0)
		problem(errors, src->file, "%s", e.text);
	if (loggregator_check(&out->loggregator, &e) < 0)
		problem(errors, src->file, "%s", e.text);
	if (drains_check(&out->drains, &e) < 0)
		problem(errors, src->file, "%s", e.text);
	if (alerting_check(&out->alerts, &e) < 0)
		problem(errors, src->file, "%s", e.text);
	if (!out->data) {
		config_default_data(&data);
		out->data = arena_c(arena, buf_view(&data));
		buf_fini(&data);
	}
	return errors->n ? ERR_ARG : 0;
}

int config_load(struct serve_config *out, const char *file, const char *const *flags,
	const char *const *inputs, struct arena *arena, struct conf_errors *errors)
{
	struct conf_source src = {.file = file, .flags = flags, .environment = true};

	return load(out, &src, inputs, false, arena, errors);
}

int config_load_route(struct serve_config *out, const char *file, const char *const *flags,
	const char *const *inputs, struct arena *arena, struct conf_errors *errors)
{
	struct conf_source src = {.file = file, .flags = flags, .environment = true};

	return load(out, &src, inputs, true, arena, errors);
}

int config_load_text(struct serve_config *out, struct str text, const char *name,
	const char *const *flags, struct arena *arena, struct conf_errors *errors)
{
	struct conf_source src = {.file = name, .text = text, .flags = flags, .environment = true};

	return load(out, &src, NULL, false, arena, errors);
}
