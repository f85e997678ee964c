/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sawlog's YAML.  Texts are written in double quotes, with $ doubled, since
 * values of sawlog's configs have variables.
 */
#include "nowcast/translation.h"

enum { KEEP_MAX = 999 }; /* of rotated files, by the option `keep` */

static void put_text(struct buf *out, struct str s)
{
	struct buf json = {0};

	buf_json(&json, s);
	for (size_t i = 0; i < json.n; i++) {
		unsigned char c = (unsigned char)json.p[i];
		if (c == '$')
			buf_c(out, "$$");
		else if (c == 0x7f) /* YAML 1.1 does not let it stand */
			buf_c(out, "\\x7f");
		else if (c == 0xc2 && i + 1 < json.n && (unsigned char)json.p[i + 1] < 0xa0)
			buf_printf(out, "\\x%02x", (unsigned char)json.p[++i]);
		else
			buf_char(out, (char)c);
	}
	buf_fini(&json);
}

static void put_setting(struct buf *out, const char *key, struct str value)
{
	buf_printf(out, "      %s: ", key);
	put_text(out, value);
	buf_char(out, '\n');
}

/* The publishers come grouped, as the file has them. */
static void put_input(const struct nowcast *n, struct buf *out)
{
	buf_c(out, "inputs:\n  - zeromq:\n      connect:\n");
	for (size_t i = 0; i < n->n_publishers; i++) {
		const struct nowcast_publisher *p = &n->publishers[i];
		bool first = i == 0 || strcmp(n->publishers[i - 1].name, p->name) != 0;
		if (first) {
			buf_c(out, i ? "]\n        " : "        ");
			buf_json(out, str_c(p->name)); /* a key: $ is itself */
			buf_c(out, ": [");
		}
		buf_printf(out, "%s\"tcp://%s:%u\"", first ? "" : ", ", p->host, p->port);
	}
	/* Its publishers have no subtopics: what stands before "::" belongs to the message. */
	buf_c(out, "]\n      join_topic: true\n");
}

/* The lowest of sawlog's names that lets the same of the five levels pass; NULL: none passes. */
static const char *severity_of(int level)
{
	static const struct {
		int upto;
		const char *name;
	} names[] = {{0, "any"}, {5, "trace"}, {10, "debug"}, {20, "info"}, {30, "warn"},
		{40, "error"}, {50, "fatal"}};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (level <= names[i].upto)
			return names[i].name;
	return NULL;
}

static void put_rotation(const struct handler *h, struct buf *out)
{
	if (h->rotation == ROTATION_NONE)
		return;
	buf_c(out, "      rotate: {every: ");
	if (h->rotation == ROTATION_WEEK)
		/* Python rotates at the end of the day. */
		buf_printf(out, "w%u", (h->weekday + 1) % 7);
	else
		buf_c(out, h->rotation == ROTATION_HOUR ? "hour" : "midnight");
	buf_printf(out, ", keep: %lld}\n",
		(long long)(h->keep > 0 && h->keep < KEEP_MAX ? h->keep : KEEP_MAX));
}

static void put_file(const struct translation *t, const struct handler *h, struct buf *out)
{
	put_setting(out, "path", h->path);
	buf_printf(out, "      mode: \"%04o\"\n", t->options->file_mode);
	buf_printf(out, "      watch: %s\n", h->watched ? "true" : "false");
	put_rotation(h, out);
}

/* A text that is a line format: what is special there is doubled. */
static void put_constant(const struct handler *h, const char *key, struct str s, struct buf *out)
{
	struct buf format = {0};

	for (size_t i = 0; i < s.n; i++) {
		if (h->style == '%' ? s.p[i] == '%' : s.p[i] == '{' || s.p[i] == '}')
			buf_char(&format, s.p[i]);
		buf_char(&format, s.p[i]);
	}
	put_setting(out, key, buf_view(&format));
	buf_fini(&format);
}

static void put_email(const struct handler *h, struct buf *out)
{
	put_setting(out, "smtp", h->smtp);
	put_setting(out, "from", h->from);
	buf_c(out, "      to: [");
	for (size_t i = 0; i < h->n_to; i++) {
		buf_c(out, i ? ", " : "");
		put_text(out, h->to[i]);
	}
	buf_c(out, "]\n");
	put_constant(h, "subject", h->subject, out);
	if (h->user.n) {
		put_setting(out, "user", h->user);
		put_setting(out, "password_file", h->password_file);
	}
	/* The host is the one that the file names. */
	buf_c(out, "      allow_private: true\n      digest: 0s\n");
}

static void put_output(
	const struct translation *t, const struct handler *h, const char *severity, struct buf *out)
{
	static const char *const kinds[] = {
		[HANDLER_FILE] = "file", [HANDLER_STREAM] = "stdout", [HANDLER_EMAIL] = "email"};

	buf_printf(out, "  - %s:\n", kinds[h->kind]);
	put_setting(out, "name", h->name);
	/* What is pushed over HTTP as well is not for these files. */
	put_setting(out, "match", STR("{input=~\"zeromq|nowcast\"}"));
	buf_printf(out, "      min_severity: %s\n", severity);
	if (h->format.n)
		put_setting(out, "format", h->format);
	if (h->style == '{')
		buf_c(out, "      style: brace\n");
	if (h->datefmt.n)
		put_setting(out, "datefmt", h->datefmt);
	buf_printf(out, "      multiline: %s\n", t->options->multiline);
	if (h->kind == HANDLER_FILE)
		put_file(t, h, out);
	else if (h->kind == HANDLER_STREAM)
		buf_printf(out, "      stream: %s\n", h->to_stdout ? "stdout" : "stderr");
	else
		put_email(h, out);
}

void emit(const struct translation *t, const struct handlers *h, struct buf *out)
{
	bool any = false;

	for (size_t i = 0; i < t->out->n_notes; i++)
		buf_printf(out, "# %s\n", t->out->notes[i]);
	put_input(t->out, out);
	for (size_t i = 0; i < h->n; i++) {
		const struct handler *one = &h->items[i];
		int level = one->level > h->level ? one->level : h->level;
		const char *severity = severity_of(level);
		if (!severity) {
			buf_printf(out, "# %s:%d: level %d lets no message pass\n",
				one->place.source, one->place.line, level);
			continue;
		}
		if (!any)
			buf_c(out, "outputs:\n");
		any = true;
		put_output(t, one, severity, out);
	}
}
