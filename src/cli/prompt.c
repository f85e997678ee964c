/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Query after query.  Each runs in a child process, as the same command would
 * from a shell: an interrupt ends the child and the prompt goes on, and when
 * the pager is left the child ends at its next page, so that what nobody
 * looks at is not asked for.
 *
 * Editing, history and the keys are libedit's; without a terminal lines are
 * read as they come, so that a script can be piped in.
 */
#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/print.h"
#include "cli/query_words.h"
#include "cli/remote.h"
#include "os/process.h"

enum {
	HISTORY_LINES = 1000,
	WORDS_MAX = 64,       /* flags that \set gives */
	CANDIDATES_MAX = 200, /* that are shown */
};

struct prompt {
	struct command_line *cl;
	struct remote *remote; /* for completion; opened when first asked */
	bool tty;
	char *set[WORDS_MAX]; /* flags of \set, each its own */
	size_t n_set;
	bool over;
	int code; /* of the last query */
};

/* --- running --------------------------------------------------------------------------- */

/* The program that shows long output; NULL for none. */
static const char *pager_of(const struct prompt *p)
{
	const char *pager = getenv("PAGER"), *term = getenv("TERM");

	if (!p->tty || !term || strcmp(term, "dumb") == 0)
		return NULL;
	if (!pager)
		return "less -FRX";
	return *pager && strcmp(pager, "cat") != 0 ? pager : NULL;
}

static pid_t start_pager(const char *pager, int *to)
{
	int ends[2];
	pid_t pid;

	if (pipe(ends) < 0)
		return -1;
	if ((pid = fork()) == 0) {
		dup2(ends[0], STDIN_FILENO);
		close(ends[0]);
		close(ends[1]);
		execl("/bin/sh", "sh", "-c", pager, (char *)NULL);
		_exit(127);
	}
	close(ends[0]);
	if (pid < 0)
		close(ends[1]);
	else
		*to = ends[1];
	return pid;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_TEMPORARY;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_INTERRUPTED;
}

/* Which of the prompt's flags a command takes. */
enum takes { TAKES_NOTHING, TAKES_LISTING /* no flags of print_flags */, TAKES_ALL };

/* Is it a flag of print_flags?  *two: its value is the next word. */
static bool is_print_flag(const char *word, bool *two)
{
	for (const struct flag *f = print_flags.flags; f->name; f++) {
		size_t n = strlen(f->name);
		bool letter = word[0] == '-' && word[1] == f->letter && f->letter,
		     name = strncmp(word, "--", 2) == 0 && strncmp(word + 2, f->name, n) == 0 &&
			    (!word[2 + n] || word[2 + n] == '=');

		if (!letter && !name)
			continue;
		*two = f->kind != FLAG_BOOL && !word[letter ? 2 : 2 + n];
		return true;
	}
	return false;
}

static size_t own_flags(struct prompt *p, enum takes takes, const char **out, size_t max)
{
	size_t n = 0;

	for (char **word = p->cl->raw; *word && n < max; word++) {
		bool two = false;

		if (takes == TAKES_LISTING && is_print_flag(*word, &two))
			word += two && word[1];
		else
			out[n++] = *word;
	}
	for (size_t i = 0; takes == TAKES_ALL && i < p->n_set && n < max; i++)
		out[n++] = p->set[i];
	return n;
}

static void run_child(const struct command *c, const char **argv, int to)
{
	int code;

	signal(SIGINT, SIG_DFL);
	if (to >= 0) {
		dup2(to, STDOUT_FILENO);
		close(to);
	}
	code = command_run(c, (char **)argv);
	fflush(NULL);
	_exit(code);
}

/* Run the command on the operand, when there is one; p->code is its exit code. */
static void run_command(struct prompt *p, const char *name, enum takes takes, const char *flag,
	struct str operand, bool pages)
{
	const struct command *c = command_find(str_c(name), NULL);
	const char *pager = pages ? pager_of(p) : NULL, *argv[WORDS_MAX + 8];
	pid_t child, shower = -1;
	struct buf text = {0};
	size_t n = 0;
	int to = -1;

	buf_str(&text, operand);
	if (operand.n)
		argv[n++] = buf_cstr(&text);
	if (flag)
		argv[n++] = flag;
	if (pager && (shower = start_pager(pager, &to)) >= 0 && takes == TAKES_ALL &&
		print_wants_colour(0, true))
		argv[n++] = "--color=always";
	if (takes != TAKES_NOTHING)
		n += own_flags(p, takes, argv + n, WORDS_MAX);
	argv[n] = NULL;
	fflush(NULL);
	if ((child = fork()) == 0)
		run_child(c, argv, to);
	if (to >= 0)
		close(to);
	p->code = child < 0 ? EXIT_TEMPORARY : wait_for(child);
	if (shower >= 0)
		wait_for(shower);
	buf_fini(&text);
}

/* --- commands of the prompt ------------------------------------------------------------- */

static void set_clear(struct prompt *p)
{
	while (p->n_set)
		free(p->set[--p->n_set]);
}

/* \set WORD…: flags for the queries that follow, in place of those of the last \set. */
static void set_flags(struct prompt *p, struct str words)
{
	set_clear(p);
	while (words.n && p->n_set < WORDS_MAX) {
		struct str word = str_cut(&words, ' ');

		if (word.n)
			p->set[p->n_set++] = str_dup(word);
	}
}

static void help(struct prompt *p, struct str rest)
{
	(void)rest;
	fputs("A LogQL query      its lines or samples, of the last hour\n"
	      "\\tail QUERY        follow it; Ctrl-C ends\n"
	      "\\explain QUERY     how it is answered\n"
	      "\\patterns QUERY    kinds of its lines, with counts\n"
	      "\\fmt QUERY         the query, laid out\n"
	      "\\labels [NAME]     names of labels, or the values of one\n"
	      "\\series [SELECTOR] streams\n"
	      "\\set FLAGS         for what follows: \\set --since 3h -n 100; alone: none\n"
	      "\\quit              or Ctrl-D\n"
	      "Tab completes labels, values, functions and stages; a \\ at the end goes on in the "
	      "next line.\n",
		p->cl->out);
}

static void quit(struct prompt *p, struct str rest)
{
	(void)rest;
	p->over = true;
}

static const struct {
	const char *name;
	void (*run)(struct prompt *p, struct str rest); /* or: */
	const char *command, *flag;
	enum takes takes;
	bool pages, wants; /* through the pager; an operand must be there */
} words[] = {
	{.name = "help", .run = help},
	{.name = "quit", .run = quit},
	{.name = "set", .run = set_flags},
	{.name = "tail", .command = "tail", .takes = TAKES_ALL, .wants = true},
	{.name = "explain",
		.command = "query",
		.flag = "--explain",
		.takes = TAKES_ALL,
		.wants = true},
	{.name = "patterns",
		.command = "patterns",
		.takes = TAKES_LISTING,
		.pages = true,
		.wants = true},
	{.name = "fmt", .command = "fmt", .wants = true},
	{.name = "labels", .command = "labels", .takes = TAKES_LISTING, .pages = true},
	{.name = "series", .command = "series", .takes = TAKES_LISTING, .pages = true},
};

static void run_word(struct prompt *p, struct str line)
{
	struct str rest = line, word = str_cut(&rest, ' ');

	rest = str_trim(rest);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (!str_eq_c(word, words[i].name))
			continue;
		if (words[i].run)
			words[i].run(p, rest);
		else if (words[i].wants && rest.n == 0)
			fprintf(p->cl->err, "\\%s wants a query behind it\n", words[i].name);
		else
			run_command(p, words[i].command, words[i].takes, words[i].flag, rest,
				words[i].pages);
		return;
	}
	fprintf(p->cl->err, "there is no \\%.*s: see \\help\n", STR_ARG(str_sub(word, 0, 40)));
	p->code = EXIT_USAGE;
}

static void run_line(struct prompt *p, struct str line)
{
	line = str_trim(line);
	if (line.n == 0)
		return;
	if (line.p[0] == '\\')
		run_word(p, str_sub(line, 1, line.n));
	else
		run_command(p, "query", TAKES_ALL, NULL, line, true);
}

/* --- completion ------------------------------------------------------------------------- */

struct candidates {
	struct str word;
	char **list;
	size_t n;
};

static void candidate(struct candidates *c, struct str text)
{
	if (!str_starts(text, c->word) || str_eq(text, c->word))
		return;
	if (c->n % 64 == 0)
		c->list = xrealloc(c->list, (c->n + 64) * sizeof *c->list);
	c->list[c->n++] = str_dup(text);
}

/* What the server knows. */
static void ask(struct prompt *p, const struct query_spot *spot, struct candidates *c)
{
	struct buf path = {0};
	int64_t from_ns, until_ns;
	struct error e = {0};
	struct json j;
	size_t data;

	if (spot->place == PLACE_VALUE) {
		buf_c(&path, "/loki/api/v1/label/");
		buf_str(&path, spot->label);
		buf_c(&path, "/values");
	} else {
		buf_c(&path, "/loki/api/v1/labels");
	}
	remote_window(p->cl, &from_ns, &until_ns);
	remote_param_i64(&path, "start", from_ns);
	remote_param_i64(&path, "end", until_ns);
	if ((p->remote || remote_open(&p->remote, p->cl, &e) == 0) &&
		remote_get(p->remote, buf_cstr(&path), &j, &e) == 0 &&
		(data = json_get(&j, 0, "data")) && j.nodes[data].type == JSON_ARRAY)
		for (size_t i = json_first(&j, data); i < json_end(&j, data); i = json_next(&j, i))
			candidate(c, j.nodes[i].text);
	buf_fini(&path);
}

/* How many bytes behind the word all of them share. */
static size_t common(const struct candidates *c)
{
	size_t n = strlen(c->list[0]);

	for (size_t i = 1; i < c->n; i++) {
		size_t k = 0;

		while (k < n && c->list[i][k] == c->list[0][k])
			k++;
		n = k;
	}
	return n - c->word.n;
}

static void show(struct prompt *p, const struct candidates *c)
{
	fputc('\n', p->cl->out);
	for (size_t i = 0; i < c->n && i < CANDIDATES_MAX; i++) {
		struct buf text = {0};

		print_escaped(&text, str_c(c->list[i]), false);
		fprintf(p->cl->out, "%s%s", i ? "  " : "", buf_cstr(&text));
		buf_fini(&text);
	}
	if (c->n > CANDIDATES_MAX)
		fprintf(p->cl->out, "  and %zu more", c->n - CANDIDATES_MAX);
	fputc('\n', p->cl->out);
	fflush(p->cl->out);
}

static unsigned char complete(EditLine *el, int key)
{
	const LineInfo *line = el_line(el);
	struct query_spot spot =
		query_spot(str_make(line->buffer, (size_t)(line->cursor - line->buffer)));
	struct candidates c = {.word = spot.word};
	unsigned char done = CC_ERROR;
	struct prompt *p;
	size_t more;

	(void)key;
	el_get(el, EL_CLIENTDATA, &p);
	for (const char *const *w = query_words(spot.place); *w; w++)
		candidate(&c, str_c(*w));
	if (spot.place == PLACE_LABEL || spot.place == PLACE_VALUE)
		ask(p, &spot, &c);
	if (c.n && (more = common(&c)) > 0) {
		char *text = str_dup(str_make(c.list[0] + c.word.n, more));

		el_insertstr(el, text);
		free(text);
		done = CC_REFRESH;
	} else if (c.n) {
		show(p, &c);
		done = CC_REDISPLAY;
	}
	for (size_t i = 0; i < c.n; i++)
		free(c.list[i]);
	free(c.list);
	return done;
}

/* --- the terminal ----------------------------------------------------------------------- */

static const char *first_prompt(EditLine *el)
{
	(void)el;
	return "sawlog> ";
}

static const char *next_prompt(EditLine *el)
{
	(void)el;
	return "   ...> ";
}

/* Nothing to do: reading ends with EINTR, and the line is dropped. */
static void on_interrupt(int number)
{
	(void)number;
}

/* Make the folder that the file lies in. */
static void make_folder(char *path)
{
	for (char *slash = path; (slash = strchr(slash + 1, '/'));) {
		*slash = 0;
		mkdir(path, 0700);
		*slash = '/';
	}
}

/* A line, with those that it goes on in; false at the end.  `text` is empty after an interrupt. */
static bool read_line(EditLine *el, struct buf *text)
{
	const char *line;
	int n;

	buf_clear(text);
	el_set(el, EL_PROMPT, first_prompt);
	for (;;) {
		errno = 0;
		/* Before the prompt is shown: an end of input typed right then would be lost. */
		el_set(el, EL_PREP_TERM, 1);
		line = el_gets(el, &n);
		if (!line || n <= 0) {
			buf_clear(text);
			return n < 0 && errno == EINTR;
		}
		buf_put(text, line, (size_t)n);
		while (text->n && text->p[text->n - 1] == '\n')
			text->n--;
		if (text->n == 0 || text->p[text->n - 1] != '\\')
			return true;
		text->p[text->n - 1] = ' ';
		el_set(el, EL_PROMPT, next_prompt);
	}
}

static void run_terminal(struct prompt *p)
{
	struct sigaction action = {.sa_handler = on_interrupt};
	History *h = history_init();
	EditLine *el = el_init("sawlog", stdin, stdout, stderr);
	struct buf text = {0}, path = {0};
	HistEvent ev;

	setlocale(LC_CTYPE, "");
	sigaction(SIGINT, &action, NULL);
	history(h, &ev, H_SETSIZE, HISTORY_LINES);
	history(h, &ev, H_SETUNIQUE, 1);
	process_state_folder(&path);
	buf_c(&path, "/history");
	buf_cstr(&path);
	make_folder(path.p);
	history(h, &ev, H_LOAD, path.p);
	el_set(el, EL_CLIENTDATA, p);
	el_set(el, EL_EDITOR, "emacs");
	el_set(el, EL_SIGNAL, 0);
	el_set(el, EL_HIST, history, h);
	/* Wide, as the editor keeps the strings: of narrow ones it would keep copies for good. */
	el_wset(el, EL_ADDFN, L"complete-query", L"Complete the query", complete);
	el_set(el, EL_BIND, "^I", "complete-query", NULL);
	el_source(el, NULL);
	while (!p->over && read_line(el, &text)) {
		if (text.n == 0) {
			fputc('\n', stdout);
			continue;
		}
		history(h, &ev, H_ENTER, buf_cstr(&text));
		run_line(p, buf_view(&text));
	}
	if (history(h, &ev, H_SAVE, path.p) >= 0)
		chmod(path.p, 0600);
	history_end(h);
	el_end(el);
	buf_fini(&text);
	buf_fini(&path);
}

static void run_pipe(struct prompt *p)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	while (!p->over && (n = getline(&line, &cap, stdin)) > 0)
		run_line(p, str_make(line, (size_t)n));
	free(line);
}

static int run(struct command_line *cl)
{
	struct prompt p = {.cl = cl, .tty = isatty(STDIN_FILENO) && isatty(fileno(cl->out))};

	if (p.tty)
		run_terminal(&p);
	else
		run_pipe(&p);
	set_clear(&p);
	remote_close(p.remote);
	return p.tty ? EXIT_OK : p.code;
}

const struct command command_prompt = {
	.name = "prompt",
	.args = "",
	.summary = "ask one query after another",
	.description =
		"Reads queries from the terminal, with history and completion of labels, values, "
		"functions and stages, and shows the answers through $PAGER. Long answers are "
		"fetched as one pages through them. \\help tells what else it knows.\n\n"
		"The flags are those of `sawlog query` and hold for each query. Without a terminal, "
		"queries are read from standard input, one a line; the exit code is that of the "
		"last.",
	.examples = "sawlog prompt --since 24h\n"
		    "printf '%s\\n' '{app=\"billing\"}' '\\labels app' | sawlog prompt -o jsonl\n",
	.groups = {&window_flags, &print_flags, &remote_flags, &access_flags},
	.run = run,
};
