/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  Text comes in as any bytes, and becomes UTF-8 without control
 * characters first; only then is it encoded.  So a line end in a subject is a
 * blank long before a header is written, and nothing has to be searched for.
 *
 *   bytes ─► clean ─► ASCII and short? as it is : encoded words, or
 *                                                 quoted-printable or base64, the shorter
 */
#include "output/mail.h"

#include <assert.h>

#include "codec/codec.h"
#include "codec/rune.h"
#include "record/civil.h"

enum {
	ADDRESS_MAX = 254, /* RFC 5321, 4.5.3.1.3 */
	WORD_FRAME = 12,   /* what is around an encoded word: =?utf-8?B? and ?= */
	WORD_BYTES = 45,   /* in it: 60 in base64 */
	BODY_LINE_MAX = 900,
};

static bool is_control(unsigned char c)
{
	return c < ' ' || c == 127;
}

static bool is_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 128)
			return false;
	return true;
}

/* Mailboxes. */

struct str mail_address(struct str mailbox)
{
	ptrdiff_t at = str_chr(mailbox, '<');

	if (at < 0)
		return str_trim(mailbox);
	mailbox = str_sub(mailbox, (size_t)at + 1, mailbox.n);
	return str_cut(&mailbox, '>');
}

static struct str mailbox_name(struct str mailbox)
{
	ptrdiff_t at = str_chr(mailbox, '<');

	return at < 0 ? STR_NONE : str_trim(str_sub(mailbox, 0, (size_t)at));
}

/* Quoted local parts and literal domains are left out: nobody alerts to them, and each is a way to
 * smuggle something. */
static bool is_address(struct str a)
{
	static const char atext[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "!#$%&'*+-/=?^_`{|}~.";
	struct str domain = a, local = str_cut(&domain, '@');

	if (a.n > ADDRESS_MAX || local.n == 0 || domain.n == 0 || domain.p[0] == '-')
		return false;
	for (size_t i = 0; i < local.n; i++)
		if (!local.p[i] || !strchr(atext, local.p[i]))
			return false;
	for (size_t i = 0; i < domain.n; i++)
		if (!is_alpha(domain.p[i]) && !is_digit(domain.p[i]) && domain.p[i] != '-' &&
			domain.p[i] != '.')
			return false;
	return true;
}

int mail_check_mailbox(struct str text, struct error *e)
{
	struct str trimmed = str_trim(text);
	ptrdiff_t at = str_chr(trimmed, '<');
	bool good = is_address(mail_address(trimmed)) &&
		    (at < 0 || str_chr(trimmed, '>') == (ptrdiff_t)trimmed.n - 1) &&
		    str_utf8_valid(text) == text.n;

	for (size_t i = 0; good && i < text.n; i++)
		good = !is_control((unsigned char)text.p[i]);
	if (good)
		return 0;
	return error_set(e, ERR_ARG,
		"\"%.*s\" is no mailbox: write ops@example.com or Operations <ops@example.com>, "
		"the address in ASCII",
		(int)(text.n > 100 ? 100 : text.n), text.p ? text.p : "");
}

/* Cleaning. */

/* Append as UTF-8; control characters but tabs and, with `lines`, line ends become blanks.  CRLF,
 * CR and LF are one LF. */
static void clean_put(struct buf *out, struct str s, bool lines)
{
	while (s.n > 0) {
		size_t valid = str_utf8_valid(s);

		for (size_t i = 0; i < valid; i++) {
			unsigned char c = (unsigned char)s.p[i];

			if (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n')
				continue;
			if (c == '\r')
				c = '\n';
			if (c == '\n' && lines)
				buf_char(out, '\n');
			else if (c == '\t' && lines)
				buf_char(out, '\t');
			else
				buf_char(out, is_control(c) ? ' ' : (char)c);
		}
		s = str_sub(s, valid, s.n);
		if (s.n > 0) {
			buf_c(out, "\xef\xbf\xbd");
			s = str_sub(s, 1, s.n);
		}
	}
}

/* Headers. */

/* Encoded words, cut between characters; blanks between them are not shown.  `column` is where they
 * begin. */
static void put_words(struct buf *out, struct str s, size_t column)
{
	while (s.n > 0) {
		size_t room = (MAIL_LINE_MAX - column - WORD_FRAME) / 4 * 3;
		struct str part = rune_fit(s, room < WORD_BYTES ? room : WORD_BYTES);

		buf_c(out, "=?utf-8?B?");
		base64_put(out, part);
		buf_c(out, "?=");
		s = str_sub(s, part.n, s.n);
		column = 1;
		if (s.n > 0)
			buf_c(out, "\r\n ");
	}
}

/* Can it stand in a header as it is, folded at its blanks? */
static bool is_plain_header(struct str s)
{
	size_t word = 0;

	if (!is_ascii(s) || str_find(s, STR("=?")) >= 0)
		return false;
	/* Runs of blanks and one at an end do not survive folding; a word that is too long cannot
	 * be folded. */
	for (size_t i = 0; i < s.n; i++) {
		word = s.p[i] == ' ' ? 0 : word + 1;
		if (word > MAIL_LINE_MAX - 12)
			return false;
		if (s.p[i] == ' ' && (i == 0 || i + 1 == s.n || s.p[i + 1] == ' '))
			return false;
	}
	return true;
}

static void put_folded(struct buf *out, struct str s, size_t column)
{
	for (bool first = true; s.n > 0; first = false) {
		struct str word = str_cut(&s, ' ');

		if (!first && column + 1 + word.n > MAIL_LINE_MAX) {
			buf_c(out, "\r\n");
			column = 0;
		}
		if (!first)
			buf_char(out, ' ');
		buf_str(out, word);
		column += !first + word.n;
	}
}

static void put_subject(struct buf *out, struct str text)
{
	static const char name[] = "Subject: ";
	struct buf clean = {0};

	clean_put(&clean, text, false);
	if (clean.n > MAIL_SUBJECT_MAX) {
		clean.n = rune_fit(buf_view(&clean), MAIL_SUBJECT_MAX - 3).n;
		buf_c(&clean, "...");
	}
	buf_c(out, name);
	if (is_plain_header(buf_view(&clean)))
		put_folded(out, buf_view(&clean), strlen(name));
	else
		put_words(out, buf_view(&clean), strlen(name));
	buf_c(out, "\r\n");
	buf_fini(&clean);
}

static void put_mailbox(struct buf *out, const char *mailbox)
{
	struct str name = mailbox_name(str_c(mailbox)), address = mail_address(str_c(mailbox));

	if (name.n == 0) {
		buf_str(out, address);
		return;
	}
	if (name.n >= 2 && name.p[0] == '"' && name.p[name.n - 1] == '"')
		name = str_sub(name, 1, name.n - 1);
	if (is_plain_header(name)) {
		buf_char(out, '"');
		for (size_t i = 0; i < name.n; i++) {
			if (name.p[i] == '"' || name.p[i] == '\\')
				buf_char(out, '\\');
			buf_char(out, name.p[i]);
		}
		buf_char(out, '"');
	} else {
		put_words(out, name, 6);
	}
	buf_printf(out, " <%.*s>", STR_ARG(address));
}

static void put_to(struct buf *out, const struct strings *to)
{
	buf_c(out, "To: ");
	for (size_t i = 0; i < to->n; i++) {
		if (i > 0)
			buf_c(out, ",\r\n ");
		put_mailbox(out, to->items[i]);
	}
	buf_c(out, "\r\n");
}

static void put_date(struct buf *out, int64_t ns)
{
	static const char *const days[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
	static const char *const months[] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	struct civil t = civil_of(ns, 0);
	int64_t day = floor_div(floor_div(ns, second_ns), day_s);

	buf_printf(out, "Date: %s, %02d %s %04d %02d:%02d:%02d +0000\r\n",
		days[((day % 7) + 7) % 7], t.day, months[t.month - 1], t.year, t.hour, t.minute,
		t.second);
}

static void put_id(struct buf *out, struct str id, const char *host)
{
	buf_printf(out, "Message-ID: <%.*s@", STR_ARG(id));
	for (; *host; host++)
		buf_char(out, is_alpha(*host) || is_digit(*host) || *host == '.' ? *host : '-');
	buf_c(out, ">\r\n");
}

/* Bodies. */

static bool is_plain_body(struct str s)
{
	while (s.n > 0) {
		struct str line = str_cut(&s, '\n');

		if (line.n > BODY_LINE_MAX || !is_ascii(line))
			return false;
	}
	return true;
}

static void put_plain(struct buf *out, struct str s)
{
	while (s.n > 0) {
		buf_str(out, str_cut(&s, '\n'));
		buf_c(out, "\r\n");
	}
}

static void put_base64(struct buf *out, struct str s)
{
	struct buf lines = {0};

	/* Canonical line ends first: RFC 2045, 6.8. */
	put_plain(&lines, s);
	for (struct str rest = buf_view(&lines); rest.n > 0;) {
		struct str part = str_sub(rest, 0, MAIL_LINE_MAX / 4 * 3);

		base64_put(out, part);
		buf_c(out, "\r\n");
		rest = str_sub(rest, part.n, rest.n);
	}
	buf_fini(&lines);
}

/* A soft break before what would make the line longer than MAIL_LINE_MAX with its own '='. */
static void put_quoted_line(struct buf *out, struct str line)
{
	size_t column = 0;

	for (size_t i = 0; i < line.n; i++) {
		unsigned char c = (unsigned char)line.p[i];
		bool blank = c == ' ' || c == '\t';
		bool as_is = (c > ' ' && c < 127 && c != '=') || (blank && i + 1 < line.n);
		size_t n = as_is ? 1 : 3;

		if (column + n > MAIL_LINE_MAX - 1) {
			buf_c(out, "=\r\n");
			column = 0;
		}
		if (as_is)
			buf_char(out, (char)c);
		else
			buf_printf(out, "=%02X", c);
		column += n;
	}
	buf_c(out, "\r\n");
}

static void put_quoted(struct buf *out, struct str s)
{
	while (s.n > 0)
		put_quoted_line(out, str_cut(&s, '\n'));
}

static void put_body(struct buf *out, struct str body)
{
	struct buf clean = {0}, quoted = {0}, packed = {0};
	struct str s;

	clean_put(&clean, body, true);
	s = buf_view(&clean);
	buf_c(out, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n");
	if (is_plain_body(s)) {
		buf_c(out, "Content-Transfer-Encoding: 7bit\r\n\r\n");
		put_plain(out, s);
	} else {
		put_quoted(&quoted, s);
		put_base64(&packed, s);
		buf_printf(out, "Content-Transfer-Encoding: %s\r\n\r\n",
			quoted.n <= packed.n ? "quoted-printable" : "base64");
		buf_str(out, buf_view(quoted.n <= packed.n ? &quoted : &packed));
	}
	buf_fini(&clean);
	buf_fini(&quoted);
	buf_fini(&packed);
}

void mail_put(const struct mail *m, struct buf *out)
{
	assert(m->to->n > 0);
	put_date(out, m->date_ns);
	buf_c(out, "From: ");
	put_mailbox(out, m->from);
	buf_c(out, "\r\n");
	put_to(out, m->to);
	put_subject(out, m->subject);
	put_id(out, m->id, m->host);
	buf_c(out, "Auto-Submitted: auto-generated\r\n");
	put_body(out, m->body);
}
