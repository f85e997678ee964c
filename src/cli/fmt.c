/* SPDX-License-Identifier: Apache-2.0 */
/* `fmt`: queries in their canonical form, and their mistakes, without a server. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "query/query.h"

enum {
	TEXT_MAX = 1 << 20, /* bytes of standard input */
	SHOWN_MAX = 200,    /* a longer line is not shown below the sentence */
};

static int read_input(struct buf *out, struct error *e)
{
	for (;;) {
		ssize_t n = read(STDIN_FILENO, buf_reserve(out, 64 << 10), 64 << 10);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(e, errno, "standard input");
		if (n == 0)
			return 0;
		out->n += (size_t)n;
		if (out->n > TEXT_MAX)
			return error_set(e, ERR_LIMIT,
				"standard input: a query is at most 128 KiB, this is more than 1 "
				"MiB");
	}
}

static int format(struct command_line *cl, struct str text, struct error *e)
{
	struct query *q = NULL;
	struct buf out = {0};
	int r;

	if ((r = query_parse(&q, text, e)) < 0)
		return r;
	if (flag_bool(cl, "strict") && (r = query_check_strict(q, e)) < 0)
		goto end;
	if (flag_bool(cl, "one-line"))
		query_format_line(q, &out);
	else
		query_format(q, &out);
	buf_char(&out, '\n');
	fwrite(out.p, 1, out.n, cl->out);
end:
	buf_fini(&out);
	query_free(q);
	return r;
}

/* The line of the query where it went wrong, with a mark under the place. */
static void show_place(struct command_line *cl, struct str text, const char *sentence)
{
	const char *at = strstr(sentence, "at line ");
	unsigned line, col;
	struct str rest = text, shown = STR_NONE;

	if (!at || sscanf(at, "at line %u, col %u", &line, &col) != 2 || col == 0)
		return;
	for (unsigned i = 0; i < line; i++)
		shown = str_cut(&rest, '\n');
	if (shown.n > SHOWN_MAX || col > SHOWN_MAX)
		return;
	/* A tab is one column to the sentence, and a control byte is nothing to send to a
	 * terminal. */
	for (size_t i = 0; i < shown.n; i++)
		fputc((unsigned char)shown.p[i] < ' ' ? ' ' : shown.p[i], cl->err);
	fprintf(cl->err, "\n%*s^\n", (int)col - 1, "");
}

static int run(struct command_line *cl)
{
	struct error e = {0};
	struct buf input = {0};
	struct str text = STR_NONE;
	int r = 0;

	if (cl->n_args && strcmp(cl->args[0], "-") != 0)
		text = str_c(cl->args[0]);
	else if ((r = read_input(&input, &e)) == 0)
		text = str_trim(buf_view(&input));
	if (r == 0 && (r = format(cl, text, &e)) < 0) {
		r = command_fail(cl, &e);
		show_place(cl, text, e.text);
	} else if (r < 0) {
		r = command_fail(cl, &e);
	}
	buf_fini(&input);
	return r;
}

static const struct flag flags[] = {
	{.name = "strict",
		.kind = FLAG_BOOL,
		.env = "SAWLOG_STRICT",
		.help = "Refuse what Loki refuses: an empty selector, and stages beyond its language."},
	{.name = "one-line",
		.letter = '1',
		.kind = FLAG_BOOL,
		.help = "One line, however long the query is."},
	FLAG_END,
};

const struct command command_fmt = {
	.name = "fmt",
	.args = "[LOGQL]",
	.summary = "check a query and print it in its canonical form",
	.description =
		"Without a query, or with -, it is read from standard input.  No server is asked: a "
		"query that is printed is one that the server understands, and one that is not has "
		"the place and the reason on standard error, and exit status 2.\n\n"
		"A query of up to 100 characters becomes one line; of a longer one each stage and "
		"each side of an operator gets its own.  The printed query means the same, and "
		"printing it again changes nothing.  Comments are lost.",
	.examples = "sawlog fmt '{app=\"billing\"}|json|status>=500'\n"
		    "sawlog fmt --strict < dashboard.logql\n",
	.flags = flags,
	.max_args = 1,
	.run = run,
};
