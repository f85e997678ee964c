/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/remote.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/print.h"
#include "loop/loop.h"
#include "os/clock.h"
#include "os/fs.h"

enum { TOKEN_MAX = 64 << 10, POST_ANSWER_MAX = 1 << 20 };

struct remote {
	struct command_line *cl;
	struct http_client_options options;
	struct http_client *client;
	struct http_answer answer;
	struct json_parser *parser;
	unsigned retries;
	bool verbose;
};

static const struct flag flags_of_remote[] = {
	{.name = "addr",
		.kind = FLAG_STRING,
		.value = "URL",
		.env = "SAWLOG_ADDR LOKI_ADDR",
		.fallback = "http://127.0.0.1:3100",
		.help = "The server."},
	{.name = "retries",
		.kind = FLAG_INT,
		.min = 0,
		.max = 1000,
		.fallback = "0",
		.env = "SAWLOG_RETRIES LOKI_CLIENT_RETRIES",
		.help = "Ask again that often when the server is busy or away."},
	FLAG_END,
};

static const struct flag flags_of_access[] = {
	{.name = "tenant",
		.aliases = "org-id",
		.kind = FLAG_STRING,
		.value = "NAME",
		.env = "SAWLOG_TENANT LOKI_ORG_ID",
		.help = "Sent as X-Scope-OrgID."},
	{.name = "token-file",
		.aliases = "bearer-token-file",
		.kind = FLAG_STRING,
		.value = "FILE",
		.env = "SAWLOG_TOKEN_FILE LOKI_BEARER_TOKEN_FILE",
		.help = "File with the bearer token."},
	{.name = "token",
		.aliases = "bearer-token",
		.kind = FLAG_STRING,
		.env = "SAWLOG_TOKEN LOKI_BEARER_TOKEN",
		.help = "The bearer token itself. Typed, it shows in the process list: prefer "
			"--token-file or the environment."},
	{.name = "username",
		.kind = FLAG_STRING,
		.value = "NAME",
		.env = "SAWLOG_USERNAME LOKI_USERNAME",
		.help = "For HTTP Basic authentication."},
	{.name = "password",
		.kind = FLAG_STRING,
		.env = "SAWLOG_PASSWORD LOKI_PASSWORD",
		.help = "For HTTP Basic authentication. Prefer the environment."},
	{.name = "ca",
		.aliases = "ca-cert",
		.kind = FLAG_STRING,
		.value = "FILE",
		.env = "SAWLOG_CA LOKI_CA_CERT_PATH",
		.help = "Certificates (PEM) to trust instead of the system's."},
	{.name = "cert",
		.kind = FLAG_STRING,
		.value = "FILE",
		.env = "SAWLOG_CERT LOKI_CLIENT_CERT_PATH",
		.help = "Client certificate (PEM)."},
	{.name = "key",
		.kind = FLAG_STRING,
		.value = "FILE",
		.env = "SAWLOG_KEY LOKI_CLIENT_KEY_PATH",
		.help = "Its key (PEM)."},
	{.name = "insecure",
		.aliases = "tls-skip-verify",
		.kind = FLAG_BOOL,
		.env = "SAWLOG_INSECURE LOKI_TLS_SKIP_VERIFY",
		.help = "Do not check the server's certificate: whoever answers gets the token."},
	{.name = "proxy-url",
		.kind = FLAG_STRING,
		.value = "URL",
		.env = "SAWLOG_HTTP_PROXY_URL LOKI_HTTP_PROXY_URL",
		.help = "HTTP proxy."},
	{.name = "verbose",
		.letter = 'v',
		.kind = FLAG_BOOL,
		.help = "Print the URL of each request to stderr."},
	FLAG_END,
};

const struct flag_group remote_flags = {"Server", flags_of_remote};
const struct flag_group access_flags = {"Access", flags_of_access};

static const struct flag flags_of_window[] = {
	{.name = "since",
		.aliases = "from",
		.kind = FLAG_TIME,
		.fallback = "1h",
		.env = "SAWLOG_SINCE",
		.help = "Begin: how long ago (5m, 3h, 2d), a date or time, or RFC 3339."},
	{.name = "until",
		.aliases = "to",
		.kind = FLAG_TIME,
		.help = "End, in the same forms. Default: now."},
	FLAG_END,
};

const struct flag_group window_flags = {"Window", flags_of_window};

/* --- opening ----------------------------------------------------------- */

static const char *text_or_null(const struct command_line *cl, const char *name)
{
	const char *s = flag_string(cl, name);

	return s && *s ? s : NULL;
}

static int read_token(struct remote *r, const char *file, struct error *e)
{
	struct buf text = {0};
	int code = fs_read_all(fs_real(), file, TOKEN_MAX, &text, e);

	if (code == 0)
		r->options.bearer = arena_c(&r->cl->arena, str_trim(buf_view(&text)));
	buf_fini(&text);
	return code < 0 ? error_wrap(e, code, "--token-file") : 0;
}

static int read_options(struct remote *r, const char *url, struct error *e)
{
	struct command_line *cl = r->cl;
	const char *user = text_or_null(cl, "username"), *password = text_or_null(cl, "password");
	const char *file = text_or_null(cl, "token-file");

	r->options = (struct http_client_options){
		.url = url,
		.tenant = text_or_null(cl, "tenant"),
		.bearer = text_or_null(cl, "token"),
		.ca_file = text_or_null(cl, "ca"),
		.cert_file = text_or_null(cl, "cert"),
		.key_file = text_or_null(cl, "key"),
		.proxy = text_or_null(cl, "proxy-url"),
		.insecure = flag_bool(cl, "insecure"),
	};
	if (user || password)
		r->options.user = arena_printf(
			&cl->arena, "%s:%s", user ? user : "", password ? password : "");
	/* A token typed by hand is meant; else the file is the better secret. */
	if (file && !(flag_typed(cl, "token") && r->options.bearer))
		return read_token(r, file, e);
	return 0;
}

static int open_url(struct remote **out, struct command_line *cl, const char *url, struct error *e)
{
	struct remote *r = xcalloc(1, sizeof *r);
	int code;

	r->cl = cl;
	r->verbose = flag_bool(cl, "verbose");
	r->parser = json_parser_new();
	if ((code = read_options(r, url, e)) < 0 ||
		(code = http_client_new(&r->client, &r->options, e)) < 0) {
		remote_close(r);
		return code;
	}
	*out = r;
	return 0;
}

int remote_open(struct remote **out, struct command_line *cl, struct error *e)
{
	int code = open_url(out, cl, flag_string(cl, "addr"), e);

	if (code == 0)
		(*out)->retries = (unsigned)flag_int(cl, "retries");
	return code;
}

int remote_open_url(struct remote **out, struct command_line *cl, const char *url, struct error *e)
{
	return open_url(out, cl, url, e);
}

void remote_close(struct remote *r)
{
	if (!r)
		return;
	http_answer_fini(&r->answer);
	if (r->client)
		http_client_free(r->client);
	json_parser_free(r->parser);
	free(r);
}

const struct http_client_options *remote_options(const struct remote *r)
{
	return &r->options;
}

/* --- asking ------------------------------------------------------------ */

/* A failure may come as plain text (Loki), or as JSON with a message (proxies before it). */
int remote_status_error(int status, struct str body, struct error *e)
{
	struct str text = str_trim(str_sub(body, 0, 400));
	int code = ERR_NET;

	if (status == 401 || status == 403)
		code = ERR_DENIED;
	else if (status == 429 || status == 503)
		code = ERR_BUSY;
	else if (status == 504 || status == 408)
		code = ERR_TIMEOUT;
	else if (status == 413)
		code = ERR_LIMIT;
	else if (status == 501) /* a router, asked for what its servers do */
		code = ERR_UNSUPPORTED;
	else if (status >= 400 && status < 500)
		code = ERR_ARG;
	if (status == 401)
		return error_set(e, code,
			"the server asks for a token: give one by --token-file FILE or SAWLOG_TOKEN%s%.*s",
			text.n ? "; it says: " : "", STR_ARG(text));
	if (text.n == 0)
		return error_set(e, code, "the server answered with status %d", status);
	return error_set(e, code, "%.*s", STR_ARG(text));
}

static int call_once(struct remote *r, const char *path, struct error *e)
{
	int code;

	http_answer_fini(&r->answer);
	r->answer = (struct http_answer){0};
	if (r->verbose)
		fprintf(r->cl->err, "%s%s\n", r->options.url, path);
	if ((code = http_client_call(r->client, "GET", path, STR_NONE, NULL, NULL,
		     REMOTE_ANSWER_MAX, &r->answer, e)) < 0)
		return code;
	if (r->answer.status / 100 != 2)
		return remote_status_error(r->answer.status, buf_view(&r->answer.body), e);
	return 0;
}

int remote_status(const struct remote *r)
{
	return r->answer.status;
}

static bool worth_retrying(int code)
{
	return code == ERR_NET || code == ERR_BUSY || code == ERR_TIMEOUT;
}

/* One try of a method that changes something. */
static int order(
	struct remote *r, const char *method, const char *path, struct str body, struct error *e)
{
	int code;

	http_answer_fini(&r->answer);
	r->answer = (struct http_answer){0};
	if (r->verbose)
		fprintf(r->cl->err, "%s%s\n", r->options.url, path);
	if ((code = http_client_call(r->client, method, path, body,
		     method[0] == 'P' ? "application/json" : NULL, NULL, POST_ANSWER_MAX,
		     &r->answer, e)) < 0)
		return code;
	if (r->answer.status / 100 != 2)
		return remote_status_error(r->answer.status, buf_view(&r->answer.body), e);
	return 0;
}

int remote_post(
	struct remote *r, const char *path, struct str body, int *retry_after_s, struct error *e)
{
	int code = order(r, "POST", path, body, e);

	*retry_after_s = r->answer.retry_after_s;
	return code;
}

int remote_delete(struct remote *r, const char *path, struct error *e)
{
	return order(r, "DELETE", path, STR_NONE, e);
}

/* The answer as JSON. */
static int read_answer(struct remote *r, struct json *out, struct error *e)
{
	if (json_parse(r->parser, buf_view(&r->answer.body), out, e) < 0)
		return error_wrap(e, ERR_NET, "%s: the answer is no JSON", r->options.url);
	return 0;
}

int remote_post_json(
	struct remote *r, const char *path, struct str body, struct json *out, struct error *e)
{
	int code = order(r, "POST", path, body, e);

	return code < 0 ? code : read_answer(r, out, e);
}

static int call(struct remote *r, const char *path, struct error *e)
{
	struct backoff backoff = {.base_ms = 200, .max_ms = 10000};
	int code;

	for (unsigned tries = 0;; tries++) {
		code = call_once(r, path, e);
		if (code == 0 || tries >= r->retries || !worth_retrying(code))
			break;
		usleep((useconds_t)(backoff_next(&backoff) * 1000));
	}
	return code;
}

int remote_get_raw(struct remote *r, const char *path, struct str *out, struct error *e)
{
	int code = call(r, path, e);

	if (code == 0)
		*out = buf_view(&r->answer.body);
	return code;
}

int remote_get(struct remote *r, const char *path, struct json *out, struct error *e)
{
	int code = call(r, path, e);

	return code < 0 ? code : read_answer(r, out, e);
}

void remote_param(struct buf *path, const char *name, struct str value)
{
	bool first = str_chr(buf_view(path), '?') < 0;

	buf_printf(path, "%c%s=", first ? '?' : '&', name);
	url_encode(path, value);
}

void remote_param_i64(struct buf *path, const char *name, int64_t value)
{
	char text[24];
	int n = snprintf(text, sizeof text, "%" PRId64, value);

	remote_param(path, name, str_make(text, (size_t)n));
}

void remote_window(const struct command_line *cl, int64_t *from_ns, int64_t *until_ns)
{
	*until_ns = flag_given(cl, "until") ? flag_int(cl, "until") : cl->now_ns;
	*from_ns = flag_int(cl, "since");
	/* Without a begin of its own, the window is the hour before its end. */
	if (!flag_given(cl, "since"))
		*from_ns = *until_ns - 3600 * NS_PER_SEC;
}

/* --- telling ----------------------------------------------------------- */

/* The number behind `word` in a sentence: "line 1, col 5"; 0 when there is none. */
static uint64_t number_after(struct str text, struct str word)
{
	ptrdiff_t at = str_find(text, word);
	uint64_t n = 0;

	if (at < 0)
		return 0;
	for (size_t i = (size_t)at + word.n; i < text.n && text.p[i] >= '0' && text.p[i] <= '9';
		i++)
		n = n < 1000000 ? n * 10 + (uint64_t)(text.p[i] - '0') : n;
	return n;
}

/* Columns of Loki count code points from 1. */
static void put_caret(FILE *err, struct str line, uint64_t column)
{
	fprintf(err, "  %.*s\n  ", STR_ARG(line));
	for (size_t i = 0; i < line.n && column > 1; i++) {
		if (((unsigned char)line.p[i] & 0xc0) == 0x80)
			continue;
		fputc(line.p[i] == '\t' ? '\t' : ' ', err);
		column--;
	}
	fputs("^\n", err);
}

int remote_fail(struct command_line *cl, const char *query, const struct error *e)
{
	struct str text = str_c(e->text), rest = str_c(query), line = STR_NONE;
	uint64_t row = number_after(text, STR("at line ")),
		 column = number_after(text, STR(", col "));
	int code = command_fail(cl, e);

	if (e->code != ERR_ARG || !query || row == 0 || column == 0)
		return code;
	while (row-- && rest.p)
		line = str_cut(&rest, '\n');
	put_caret(cl->err, line, column);
	return code;
}

bool remote_warnings_once(struct command_line *cl, const struct json *answer, struct map *told)
{
	size_t list = json_get(answer, 0, "warnings");

	if (!list || answer->nodes[list].type != JSON_ARRAY)
		return false;
	for (size_t i = json_first(answer, list); i < json_end(answer, list);
		i = json_next(answer, i)) {
		if (answer->nodes[i].type == JSON_STRING)
			print_warning(cl, answer->nodes[i].text, told);
	}
	return answer->nodes[list].inside > 0;
}

void remote_warnings(struct command_line *cl, const struct json *answer)
{
	struct map told = {0};

	remote_warnings_once(cl, answer, &told);
	map_fini(&told);
}
