/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message is read from its left end, part by part; what is not recognised
 * ends the header there, and the rest is text.
 *
 *   <PRI>VERSION TIME HOST APP PROCID MSGID [SD] TEXT               RFC 5424
 *   <PRI>TIME HOST TAG[PID]: TEXT                                   RFC 3164, and
 *   <PRI>TIME TAG[PID]: TEXT     <PRI>TAG[PID]: TEXT    <PRI>TEXT   to /dev/log, and less
 *   <PRI>SEQUENCE: HOST: *TIME: %FACILITY-5-NAME: TEXT              Cisco
 *
 * In RFC 3164's forms nothing says which part a word is.  The signs that are
 * trusted, in this order: "name[pid]" and "name: " are a tag; the word before
 * a tag is a host; and with a PRI and a time that the protocol knows, the word
 * behind the time is the host, as the protocol says.  A word that means a level
 * is neither: "ERROR: x" is what a logging handler without a header sends.
 */
#include "proto/syslog.h"

#include "record/severity.h"
#include "record/time.h"

enum {
	TAG_MAX = 128,
	PID_MAX = 64,
	HOST_MAX = 255,
	MNEMONIC_MAX = 64,
	PRIORITY_MAX = 191,
	COUNT_DIGITS = 9, /* of an octet count */
	BLANKS_BETWEEN = 8,
};

static const char utf8_bom[] = "\xef\xbb\xbf";

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool one_of(char c, const char *set)
{
	return c && strchr(set, c);
}

static struct str from(struct str s, size_t at)
{
	return str_sub(s, at, s.n);
}

static char at(struct str s, size_t i)
{
	return i < s.n ? s.p[i] : '\0';
}

static struct str skip_blanks(struct str s)
{
	size_t n = 0;

	while (n < s.n && s.p[n] == ' ')
		n++;
	return from(s, n);
}

/* Up to the next blank. */
static struct str word(struct str s)
{
	const char *blank = s.n ? memchr(s.p, ' ', s.n) : NULL;

	return str_make(s.p, blank ? (size_t)(blank - s.p) : s.n);
}

/* How many digits s starts with, at most `max`. */
static size_t digits(struct str s, size_t max)
{
	size_t n = 0;

	while (n < s.n && n < max && is_digit(s.p[n]))
		n++;
	return n;
}

static struct str strip_end(struct str s)
{
	while (s.n > 0 && (s.p[s.n - 1] == '\0' || s.p[s.n - 1] == '\n')) {
		s.n--;
		if (s.n > 0 && s.p[s.n] == '\n' && s.p[s.n - 1] == '\r')
			s.n--;
	}
	return s;
}

static struct str strip_bom(struct str s)
{
	return str_starts(s, str_make(utf8_bom, 3)) ? from(s, 3) : s;
}

/* ---- PRI ---- */

/* The bytes of "<13>", or 0; *out is its value. */
static size_t read_priority(struct str s, int *out)
{
	size_t n;
	int v = 0;

	if (at(s, 0) != '<')
		return 0;
	n = digits(from(s, 1), 3);
	for (size_t i = 1; i <= n; i++)
		v = v * 10 + s.p[i] - '0';
	if (n == 0 || at(s, n + 1) != '>' || v > PRIORITY_MAX)
		return 0;
	*out = v;
	return n + 2;
}

const char *syslog_facility(int priority)
{
	static const char *const names[] = {"kern", "user", "mail", "daemon", "auth", "syslog",
		"lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock",
		"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"};

	return priority >= 0 && priority <= PRIORITY_MAX ? names[priority / 8] : "";
}

const char *syslog_severity(int priority)
{
	static const char *const names[] = {
		"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"};

	return priority >= 0 && priority <= PRIORITY_MAX ? names[priority % 8] : "";
}

/* ---- structured data ---- */

/* The bytes of an SD-NAME; RFC 5424's limit of 32 is not kept by all. */
static size_t read_name(struct str s)
{
	size_t n = 0;

	while (n < s.n && (uint8_t)s.p[n] > ' ' && s.p[n] != 0x7f && !one_of(s.p[n], "=]\""))
		n++;
	return n;
}

/* The bytes of a value with its quotes, or 0; a backslash before another byte than " \ ] is
 * itself.  With `out` it is unescaped. */
static size_t read_value(struct str s, struct buf *out)
{
	if (at(s, 0) != '"')
		return 0;
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '"')
			return i + 1;
		if (s.p[i] == '\\' && one_of(at(s, i + 1), "\"\\]"))
			i++;
		if (out)
			buf_char(out, s.p[i]);
	}
	return 0;
}

/* The bytes of name="value", or 0. */
static size_t read_parameter(struct str s, struct str *name, struct buf *value)
{
	size_t n = read_name(s), v;

	if (n == 0 || at(s, n) != '=' || !(v = read_value(from(s, n + 1), value)))
		return 0;
	*name = str_sub(s, 0, n);
	return n + 1 + v;
}

/* The bytes of the element [id name="value" …], or 0. */
static size_t read_element(struct str s)
{
	struct str name;
	size_t i = 1, n;

	if (at(s, 0) != '[' || !(n = read_name(from(s, 1))))
		return 0;
	for (i += n; i < s.n; i += n) {
		bool blank = s.p[i] == ' ';
		while (at(s, i) == ' ')
			i++;
		if (at(s, i) == ']')
			return i + 1;
		if (!blank || !(n = read_parameter(from(s, i), &name, NULL)))
			return 0;
	}
	return 0;
}

/* All elements that follow each other. */
static size_t read_data(struct str s)
{
	size_t n = 0, element;

	while ((element = read_element(from(s, n))))
		n += element;
	return n;
}

void syslog_data_start(struct syslog_data *d, struct str data)
{
	*d = (struct syslog_data){.at = data};
}

bool syslog_data_next(struct syslog_data *d)
{
	struct str name;
	size_t n;

	buf_clear(&d->name);
	buf_clear(&d->value);
	for (;;) {
		if (!d->id.p) {
			if (at(d->at, 0) != '[' || !(n = read_name(from(d->at, 1))))
				break;
			d->id = str_sub(d->at, 1, n + 1);
			d->at = from(d->at, n + 1);
			d->fresh = true;
		}
		d->at = skip_blanks(d->at);
		buf_str(&d->name, d->id);
		if (at(d->at, 0) == ']') {
			d->at = from(d->at, 1);
			d->id = STR_NONE;
			if (d->fresh)
				return true;
			buf_clear(&d->name);
			continue;
		}
		if (!(n = read_parameter(d->at, &name, &d->value)))
			break;
		buf_char(&d->name, '.');
		buf_str(&d->name, name);
		d->at = from(d->at, n);
		d->fresh = false;
		return true;
	}
	d->at = STR_NONE;
	d->id = STR_NONE;
	return false;
}

void syslog_data_fini(struct syslog_data *d)
{
	buf_fini(&d->name);
	buf_fini(&d->value);
}

/* ---- RFC 5424 ---- */

struct context {
	int64_t observed_ns;
	int zone_seconds;
};

/* The next field of the header, "" for "-"; false when the header has ended.  A control byte
 * belongs to no header. */
static bool take_field(struct str *rest, struct str *out)
{
	struct str field = word(*rest);

	if (rest->n == 0)
		return false;
	for (size_t i = 0; i < field.n; i++)
		if ((uint8_t)field.p[i] < ' ' || field.p[i] == 0x7f)
			return false;
	*rest = from(*rest, field.n + 1);
	*out = str_eq(field, STR("-")) ? STR_NONE : field;
	return true;
}

/* Is it RFC 5424, behind the PRI?  With no time to know it by, or a bad one, structured data
 * have to stand where they belong; without them, as Heroku sends it, the time has to be good. */
static bool decode_5424(struct syslog_message *out, struct str rest, const struct context *x)
{
	struct syslog_message m = *out;
	size_t n = digits(rest, 3);
	bool good, whole;

	if (n == 0 || rest.p[0] == '0' || at(rest, n) != ' ')
		return false;
	rest = from(rest, n + 1);
	if (!take_field(&rest, &m.time))
		return false;
	good = m.time.n > 10 && (m.time.p[10] == 'T' || m.time.p[10] == 't') &&
	       time_read(m.time, x->observed_ns, x->zone_seconds, &m.time_ns) == m.time.n;
	if (m.time.n > 0 && !good && (!is_digit(m.time.p[0]) || str_chr(m.time, 'T') < 0))
		return false;
	m.has_time = good;
	whole = take_field(&rest, &m.host) && take_field(&rest, &m.app) &&
		take_field(&rest, &m.process) && take_field(&rest, &m.message_id);
	if (whole && at(rest, 0) == '-' && (rest.n == 1 || rest.p[1] == ' ')) {
		rest = from(rest, 2);
	} else if (whole && (n = read_data(rest))) {
		m.data = str_sub(rest, 0, n);
		rest = from(rest, n + (at(rest, n) == ' '));
	} else if (!good) {
		return false;
	}
	m.kind = SYSLOG_5424;
	m.text = strip_bom(rest);
	*out = m;
	return true;
}

/* ---- RFC 3164: parts ---- */

struct tag {
	struct str name, pid;
	size_t n; /* bytes with the colon and one blank */
};

/* "name: ", "name[pid]: ", and with `bare` "name[pid] ". */
static bool read_tag(struct str s, bool bare, struct tag *out)
{
	size_t n = 0, pid;
	bool letters = false;

	for (; n < s.n && n <= TAG_MAX; n++) {
		bool letter = is_alpha(s.p[n]);
		letters |= letter;
		if (!letter && !is_digit(s.p[n]) && !one_of(s.p[n], n ? "._-/()@+#~$%" : "._-/("))
			break;
	}
	if (n == 0 || n > TAG_MAX)
		return false;
	*out = (struct tag){.name = str_sub(s, 0, n)};
	if (at(s, n) == '[') {
		for (pid = n + 1; pid < s.n && pid - n <= PID_MAX; pid++)
			if ((uint8_t)s.p[pid] <= ' ' || s.p[pid] == ']' || s.p[pid] == '[')
				break;
		if (at(s, pid) != ']' || (!is_digit(at(s, n + 1)) && !is_alpha(at(s, n + 1))))
			return false;
		out->pid = str_sub(s, n + 1, pid);
		n = pid + 1;
		if (at(s, n) == ':')
			n++;
		else if (!bare || (n < s.n && s.p[n] != ' '))
			return false;
	} else {
		if (at(s, n) != ':' || (n + 1 < s.n && s.p[n + 1] != ' ') || !letters ||
			severity_from_word(out->name))
			return false;
		n++;
	}
	out->n = n + (at(s, n) == ' ');
	return true;
}

static bool is_host(struct str s)
{
	bool name = false;

	if (s.n == 0 || s.n > HOST_MAX || (s.n > 2 && severity_from_word(s)))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		/* A number alone is none. */
		name |= is_alpha(s.p[i]) || s.p[i] == '.' || s.p[i] == ':';
		if (!is_alpha(s.p[i]) && !is_digit(s.p[i]) && !one_of(s.p[i], "._-:%/@~+[]"))
			return false;
	}
	return name && s.p[0] != '-' && s.p[0] != '.' && s.p[s.n - 1] != ':';
}

/* "10.0.0.1" or "fe80::1%eth0": no name of a program. */
static bool is_address(struct str s)
{
	size_t dots = 0, colons = 0, i = 0;

	for (; i < s.n && s.p[i] != '%'; i++) {
		bool hex = is_digit(s.p[i]) || (s.p[i] >= 'a' && s.p[i] <= 'f') ||
			   (s.p[i] >= 'A' && s.p[i] <= 'F');
		dots += s.p[i] == '.';
		colons += s.p[i] == ':';
		if (!hex && s.p[i] != '.' && s.p[i] != ':')
			return false;
	}
	return colons >= 2 || (dots == 3 && is_digit(s.p[0]) && i == s.n);
}

/* Cisco's "%SYS-5-CONFIG_I:" at the start: what stands between % and the colon. */
static struct str read_mnemonic(struct str s)
{
	bool level = false;
	size_t n = 1;

	if (at(s, 0) != '%')
		return STR_NONE;
	for (; n < s.n && n <= MNEMONIC_MAX; n++) {
		if (!(s.p[n] >= 'A' && s.p[n] <= 'Z') && !is_digit(s.p[n]) && s.p[n] != '_' &&
			s.p[n] != '-')
			break;
		level |= n > 1 && s.p[n - 1] == '-' && is_digit(s.p[n]) && at(s, n + 1) == '-';
	}
	if (!level || (at(s, n) != ':' && !(at(s, n) == ' ' && at(s, n + 1) == ':')))
		return STR_NONE;
	return str_sub(s, 1, n);
}

/* Ten digits within a year ahead and thirty behind, and a blank. */
static size_t read_epoch(struct str s, const struct context *x, int64_t *out)
{
	const int64_t year_s = 366 * 86400;
	int64_t v = 0, ahead;

	if (digits(s, 11) != 10 || at(s, 10) != ' ')
		return 0;
	for (size_t i = 0; i < 10; i++)
		v = v * 10 + s.p[i] - '0';
	ahead = v - x->observed_ns / 1000000000;
	if (ahead > year_s || ahead < -30 * year_s)
		return 0;
	*out = v * 1000000000;
	return 10;
}

/* A time with the signs behind it: ends, goes on with a blank, or with a colon and a blank. */
struct stamp {
	int64_t ns;
	struct str text;
	size_t n; /* bytes of all */
	bool colon;
	bool protocol; /* of RFC 3164, RFC 3339 or an epoch: no way a program writes it by chance */
};

static bool read_stamp(struct str s, const struct context *x, struct stamp *out)
{
	/* Cisco's signs for a clock that is not set or has lost its source. */
	size_t mark = at(s, 0) == '*' || at(s, 0) == '.', n;
	struct str t = from(s, mark);

	*out = (struct stamp){0};
	if (!(n = time_read(t, x->observed_ns, x->zone_seconds, &out->ns)) &&
		!(n = read_epoch(t, x, &out->ns)))
		return false;
	out->text = str_sub(s, 0, mark + n);
	out->n = mark + n;
	out->protocol = is_alpha(t.p[0]) || at(t, 10) == 'T' || digits(t, 10) == 10;
	if (at(t, n) == ':' && (n + 1 >= t.n || t.p[n + 1] == ' ')) {
		out->colon = true;
		out->n++;
	} else if (n < t.n && t.p[n] != ' ') {
		return false;
	}
	return true;
}

/* What syslog daemons say without a tag. */
static bool is_daemon_notice(struct str s)
{
	return str_starts(s, STR("last message repeated ")) ||
	       str_starts(s, STR("--- last message repeated ")) || str_starts(s, STR("-- MARK --"));
}

/* ---- RFC 3164: messages ---- */

static void put_tag(struct syslog_message *m, struct str s, const struct tag *tag)
{
	m->app = tag->name;
	m->process = tag->pid;
	m->text = from(s, tag->n);
}

/* Behind the host, or where none is expected. */
static bool decode_tag(struct syslog_message *m, struct str s, bool bare)
{
	struct tag tag;

	m->text = s;
	if (read_tag(s, bare, &tag)) {
		put_tag(m, s, &tag);
		return true;
	}
	m->message_id = read_mnemonic(s);
	return m->message_id.n > 0;
}

/* "10.0.0.1: text", "fw1: %ASA-…", "fw1.example.com: app[12]: text". */
static bool decode_host_colon(struct syslog_message *m, struct str s)
{
	struct str first = word(s), after = skip_blanks(from(s, first.n));
	struct str host = str_sub(first, 0, first.n - !!first.n);
	struct tag tag;

	if (at(first, first.n - 1) != ':' || !is_host(host))
		return false;
	if (!is_address(host) && !read_mnemonic(after).n &&
		!(str_chr(host, '.') > 0 && read_tag(after, true, &tag) && tag.pid.n > 0))
		return false;
	m->host = host;
	decode_tag(m, after, true);
	return true;
}

/* All that follows a time and its blanks.  True when it has parts of a header for certain. */
static bool decode_behind_time(struct syslog_message *m, struct str s, bool protocol)
{
	struct str first = word(s), after = skip_blanks(from(s, first.n));
	struct syslog_message tagged = *m;

	m->text = s;
	if (decode_host_colon(m, s) || decode_tag(m, s, true))
		return true;
	if (str_eq(first, STR("-")) && decode_tag(&tagged, after, true)) {
		*m = tagged;
		return true;
	}
	if (!is_host(first) || after.p == first.p + first.n)
		return false;
	tagged.host = first;
	if (decode_tag(&tagged, after, true) || is_daemon_notice(after)) {
		*m = tagged;
		return true;
	}
	/* ASA: "fw1 : %ASA-6-302013: …" */
	if (at(after, 0) == ':' && at(after, 1) == ' ' &&
		read_mnemonic(skip_blanks(from(after, 1))).n) {
		decode_tag(&tagged, skip_blanks(from(after, 1)), false);
		*m = tagged;
		return true;
	}
	if (protocol)
		*m = tagged;
	return false;
}

/* Behind Cisco's colon no host follows. */
static bool decode_stamped(struct syslog_message *m, struct str s, const struct stamp *stamp)
{
	m->has_time = true;
	m->time_ns = stamp->ns;
	m->time = stamp->text;
	s = skip_blanks(from(s, stamp->n));
	return stamp->colon ? decode_tag(m, s, true)
			    : decode_behind_time(m, s, m->priority >= 0 && stamp->protocol);
}

/* Cisco's "29: ", ": " and "29: host: " before a time, an uptime (which stays text) or a
 * mnemonic. */
static bool decode_cisco(struct syslog_message *m, struct str s, const struct context *x)
{
	size_t n = digits(s, 10);
	struct str rest, name, after;
	struct stamp stamp;

	if (at(s, n) != ':')
		return false;
	rest = skip_blanks(from(s, n + 1));
	name = word(rest);
	after = skip_blanks(from(rest, name.n));
	if (read_stamp(rest, x, &stamp)) {
		decode_stamped(m, rest, &stamp);
	} else if (read_mnemonic(rest).n) {
		decode_tag(m, rest, false);
	} else if (at(name, name.n - 1) != ':' || n == 0) {
		return false;
	} else if (read_stamp(after, x, &stamp) && is_host(str_sub(name, 0, name.n - 1))) {
		decode_stamped(m, after, &stamp);
		m->host = str_sub(name, 0, name.n - 1);
	} else if (read_mnemonic(after).n && is_digit(name.p[0])) {
		m->text = rest;
		m->message_id = read_mnemonic(after);
	} else if (read_mnemonic(after).n && decode_host_colon(m, rest)) {
		;
	} else {
		return false;
	}
	m->sequence = str_sub(s, 0, n);
	return true;
}

static void decode_3164(struct syslog_message *m, struct str s, const struct context *x)
{
	struct stamp stamp;
	struct tag tag;

	m->kind = SYSLOG_3164;
	if (read_stamp(s, x, &stamp)) {
		decode_stamped(m, s, &stamp);
		return;
	}
	if (decode_cisco(m, s, x))
		return;
	/* Meraki: a version as in RFC 5424, an epoch, and then the old header. */
	if (str_starts(s, STR("1 ")) && read_stamp(from(s, 2), x, &stamp) && is_digit(s.p[2]) &&
		stamp.protocol) {
		decode_stamped(m, from(s, 2), &stamp);
		return;
	}
	m->text = s;
	m->message_id = read_mnemonic(s);
	if (read_tag(s, false, &tag))
		put_tag(m, s, &tag);
}

/* Without a PRI, as daemons write it to their files: only what has a tag as well is certain. */
static void decode_bare(struct syslog_message *out, struct str s, const struct context *x)
{
	struct syslog_message m = *out;
	struct stamp stamp;

	out->text = s;
	if (!read_stamp(s, x, &stamp))
		return;
	if (stamp.protocol && decode_stamped(&m, s, &stamp)) {
		m.kind = SYSLOG_3164;
		*out = m;
		return;
	}
	out->has_time = true;
	out->time_ns = stamp.ns;
	out->time = stamp.text;
}

void syslog_decode(
	struct syslog_message *out, struct str message, int64_t observed_ns, int zone_seconds)
{
	const struct context x = {observed_ns, zone_seconds};
	struct str s = strip_end(message), marked = strip_bom(s);
	size_t n;

	*out = (struct syslog_message){.kind = SYSLOG_PLAIN, .priority = -1};
	/* A BOM before the PRI is an encoder's, not the sender's. */
	if (!(n = read_priority(marked, &out->priority))) {
		decode_bare(out, s, &x);
		return;
	}
	s = from(marked, n);
	if (!decode_5424(out, s, &x))
		decode_3164(out, s, &x);
}

/* ---- framing ---- */

/* A message that is longer than max: its first bytes, and what follows of it. */
static size_t cut(struct str message, size_t frame, size_t max, uint64_t rest, struct str *out,
	uint64_t *skip)
{
	*out = str_sub(message, 0, max);
	*skip = rest;
	return frame + max;
}

enum frame_kind { FRAME_COUNTED, FRAME_LINE, FRAME_UNKNOWN };

/* "83 <" and a PRI: the count, and in *n the bytes before the '<'. */
static enum frame_kind read_count(struct str s, size_t *n, uint64_t *count)
{
	size_t len = digits(s, COUNT_DIGITS + 1), start, bom;
	struct str rest;

	if (len == s.n)
		return len > COUNT_DIGITS ? FRAME_LINE : FRAME_UNKNOWN;
	if (len == 0 || len > COUNT_DIGITS || s.p[0] == '0' || s.p[len] != ' ')
		return FRAME_LINE;
	*n = len + 1;
	rest = from(s, *n);
	/* Some encoders put a BOM in front. */
	for (bom = 0; bom < 3 && bom < rest.n && rest.p[bom] == utf8_bom[bom]; bom++)
		;
	if (bom > 0 && bom < 3 && bom < rest.n)
		return FRAME_LINE;
	start = bom == 3 ? 3 : 0;
	if (rest.n == start || (bom > 0 && bom < 3))
		return FRAME_UNKNOWN;
	if (rest.p[start] != '<')
		return FRAME_LINE;
	rest = from(rest, start + 1);
	len = digits(rest, 3);
	if (len == rest.n)
		return len < 3 || rest.n == 3 ? FRAME_UNKNOWN : FRAME_LINE;
	if (len == 0 || rest.p[len] != '>')
		return FRAME_LINE;
	str_u64(str_sub(s, 0, *n - 1), count);
	return *count >= start + len + 2 ? FRAME_COUNTED : FRAME_LINE;
}

static size_t frame_counted(struct str bytes, size_t head, uint64_t count, size_t max, bool end,
	struct str *message, uint64_t *skip)
{
	struct str body = from(bytes, head);
	size_t wanted = count > max ? max : (size_t)count;

	if (body.n < wanted) {
		if (!end)
			return 0;
		/* The last one of a stream that broke off is told as far as it came. */
		*message = body;
		*skip = count - body.n;
		return bytes.n;
	}
	if (count > max)
		return cut(body, head, max, count - max, message, skip);
	*message = str_sub(body, 0, wanted);
	return head + wanted;
}

/* Index of the first LF or NUL, or the length. */
static size_t line_end(struct str s)
{
	const char *lf = s.n ? memchr(s.p, '\n', s.n) : NULL, *nul;
	size_t n = lf ? (size_t)(lf - s.p) : s.n;

	nul = n ? memchr(s.p, '\0', n) : NULL;
	return nul ? (size_t)(nul - s.p) : n;
}

static size_t frame_line(
	struct str bytes, size_t max, bool end, struct str *message, uint64_t *skip)
{
	/* What lies behind a CR LF that ends the longest message is not looked at, so that it does
	 * not matter how much of the stream has come. */
	struct str head = str_sub(bytes, 0, max + 2);
	size_t n = line_end(head);

	if (n < head.n) {
		size_t length = n;
		if (head.p[n] == '\n' && n > 0 && head.p[n - 1] == '\r')
			length--;
		if (length <= max) {
			*message = str_sub(bytes, 0, length);
			return n + 1;
		}
	} else if (head.n < max + 2) {
		if (!end)
			return 0;
		if (head.n <= max) {
			*message = head;
			return head.n;
		}
	}
	return cut(bytes, 0, max, SYSLOG_SKIP_LINE, message, skip);
}

size_t syslog_frame(
	struct str bytes, size_t max_message, bool end, struct str *message, uint64_t *skip)
{
	size_t between = 0, head = 0, n = 0;
	uint64_t count = 0;
	enum frame_kind kind;

	*message = STR_NONE;
	*skip = 0;
	/* Empty lines; blanks only before a count, as a line may start with them. */
	while (n < bytes.n && (bytes.p[n] == '\n' || bytes.p[n] == '\0' ||
				      (bytes.p[n] == '\r' && at(bytes, n + 1) == '\n')))
		n++;
	if (n > 0)
		return n;
	while (between < bytes.n && between < BLANKS_BETWEEN && bytes.p[between] == ' ')
		between++;
	kind = read_count(from(bytes, between), &head, &count);
	if (kind == FRAME_UNKNOWN && !end)
		return 0;
	if (kind == FRAME_COUNTED)
		return frame_counted(bytes, between + head, count, max_message, end, message, skip);
	return bytes.n ? frame_line(bytes, max_message, end, message, skip) : 0;
}

size_t syslog_skip(struct str bytes, uint64_t *skip)
{
	size_t n;

	if (*skip != SYSLOG_SKIP_LINE) {
		n = *skip < bytes.n ? (size_t)*skip : bytes.n;
		*skip -= n;
		return n;
	}
	n = line_end(bytes);
	if (n == bytes.n)
		return n;
	*skip = 0;
	return n + 1;
}
