/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "<time> <service> <severity>[ <message>]", as one line of text or several.
 * Nothing marks the end of a service that has blanks in it, so what tells most
 * comes first: a routing key "<service>.<severity>" that the text agrees with;
 * then the second word, when that is a usual severity; then one of the next few,
 * when it is one and begins in upper case; then the second word whatever it is.
 */
#include "base/error.h"
#include "proto/message_core.h"
#include "record/severity.h"

enum {
	WORDS_BEFORE = 5, /* of a service, before its severity */
	SERVICE_MAX = 1024,
	SEVERITY_MAX = 64,
};

struct text {
	int64_t ns;
	struct str service, severity, message;
	bool keyed; /* the routing key told it */
	bool usual; /* the severity is one that everybody knows */
};

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A letter alone is too little. */
static bool usual_severity(struct str word)
{
	return word.n >= 3 && severity_from_word(word) != SEV_UNKNOWN;
}

/* Take a word, the blanks before it, and the one blank or newline behind it. */
static struct str take_word(struct str *rest)
{
	size_t n = 0;
	struct str word;

	while (rest->n && rest->p[0] == ' ')
		*rest = str_sub(*rest, 1, rest->n);
	while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\n' && rest->p[n] != '\r')
		n++;
	word = str_sub(*rest, 0, n);
	if (n < rest->n && rest->p[n] == '\r' && n + 1 < rest->n && rest->p[n + 1] == '\n')
		n++;
	*rest = str_sub(*rest, n + 1, rest->n);
	return word;
}

/* The service of the key before its last point, when the text begins with it and the severity. */
static bool by_key(struct str key, struct str rest, struct text *t)
{
	size_t point = key.n;
	struct str severity, after;

	while (point > 0 && key.p[point - 1] != '.')
		point--;
	if (point < 2 || point == key.n)
		return false;
	t->service = str_sub(rest, 0, point - 1);
	severity = str_sub(key, point, key.n);
	if (!str_eq(t->service, str_sub(key, 0, point - 1)) || rest.n <= point ||
		rest.p[point - 1] != ' ')
		return false;
	after = str_sub(rest, point, rest.n);
	t->severity = take_word(&after);
	t->message = after;
	t->keyed = true;
	return str_eq(t->severity, severity);
}

static void by_words(struct str rest, struct text *t)
{
	struct str after = rest, word;

	t->keyed = false;
	t->service = take_word(&after);
	t->severity = take_word(&after);
	t->message = after;
	t->usual = usual_severity(t->severity);
	for (int i = 2; i <= WORDS_BEFORE && !t->usual && after.n; i++) {
		size_t at = (size_t)(after.p - rest.p);

		/* A service ends with its line. */
		if (rest.p[at - 1] != ' ')
			return;
		word = take_word(&after);
		if (!usual_severity(word) || !is_upper(word.p[0]))
			continue;
		t->service = str_trim(str_sub(rest, 0, at - 1));
		t->severity = word;
		t->message = after;
		t->usual = true;
	}
}

/* Bytes of the time at the start: the form's own has no zone, so what follows its 19 bytes is the
 * service, be it called UTC; an offset in digits is none. */
static size_t take_time(struct message_decoder *d, struct str body, int64_t *ns)
{
	struct str own = str_sub(body, 0, 19);
	bool offset =
		body.n > 21 && (body.p[20] == '+' || body.p[20] == '-') && is_digit(body.p[21]);

	if (body.n > 19 && body.p[19] == ' ' && !offset && message_read_time(d, own, ns) == 19)
		return 19;
	return message_read_time(d, body, ns);
}

static int read_text(struct message_decoder *d, struct text *t, struct error *e)
{
	struct str body = d->body, rest;
	size_t n = take_time(d, body, &t->ns);

	if (n == 0 || !is_digit(body.p[0]))
		return error_set(e, ERR_ARG,
			"expected \"YYYY-MM-DD HH:MM:SS SERVICE SEVERITY MESSAGE\": it begins with "
			"no time");
	if (n == body.n || body.p[n] != ' ')
		return error_set(e, ERR_ARG,
			"expected a blank and the service behind the time, at byte %zu", n);
	rest = str_sub(body, n + 1, body.n);
	if (str_ends(rest, STR("\n")))
		rest.n--;
	if (str_ends(rest, STR("\r")))
		rest.n--;
	if (!by_key(d->m->routing_key, rest, t))
		by_words(rest, t);
	if (t->service.n == 0 || t->severity.n == 0)
		return error_set(e, ERR_ARG, "expected %s behind the time, at byte %zu",
			t->service.n ? "service and severity" : "the service", n + 1);
	if (t->service.n > SERVICE_MAX || t->severity.n > SEVERITY_MAX)
		return error_set(e, ERR_LIMIT,
			"the service has %zu bytes and the severity %zu: at most %d and %d",
			t->service.n, t->severity.n, SERVICE_MAX, SEVERITY_MAX);
	return 0;
}

/* A name, and no level: "2026-08-21 10:00:00 INFO Error while …" is another form. */
static bool is_service(struct str s)
{
	if (usual_severity(s))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i], low = (char)(c | 0x20);
		bool letter = (low >= 'a' && low <= 'z') || (c & 0x80);

		if (!letter && (i == 0 || (!is_digit(c) && c != '_' && c != '-' && c != '.')))
			return false;
	}
	return true;
}

int message_text(struct message_decoder *d, bool strict, struct error *e)
{
	struct message_record r = {0};
	struct text t = {0};
	int code;

	if ((code = read_text(d, &t, e)) < 0)
		return code;
	if (strict && !t.keyed && (!t.usual || !is_service(t.service)))
		return error_set(e, ERR_ARG, "this is hardly a line of SERVICE and SEVERITY");
	message_set_time(d, &r.record, true, t.ns);
	r.app = t.service;
	r.record.severity = severity_from_word(t.severity);
	r.record.body = t.message;
	labels_builder_set(&d->meta, STR("severity"), t.severity, NULL);
	return message_tell(d, &r);
}
