/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manual.h"

#include "codec/rune.h"
#include "conf/option.h"
#include "conf/roff.h"

static const struct {
	int code;
	const char *what;
} exits[] = {
	{EXIT_OK, "Success; with --exit-status or -q: something matched."},
	{EXIT_NO_MATCH,
		"Nothing matched (with --exit-status, -q or --record alone), or store verify found damage."},
	{EXIT_USAGE, "Bad flags, or the server refused the query."},
	{EXIT_UNREACHABLE, "The server could not be reached."},
	{EXIT_IO, "A local file, or the output, could not be read or written."},
	{EXIT_TEMPORARY, "Refused for now, or only a part was done: try again."},
	{EXIT_AUTH, "The server wants other credentials."},
	{EXIT_CONFIG, "The configuration is wrong."},
	{EXIT_INTERRUPTED, "Ended by SIGINT (Ctrl-C)."},
	{EXIT_TERMINATED, "Ended by SIGTERM."},
};

enum { N_EXITS = sizeof exits / sizeof exits[0], HELP_COLUMN = 30, HELP_WIDTH = 100 };

/* --- walking ----------------------------------------------------------- */

/* Table i of a command: 0 its own, then the shared ones; NULL behind the last. */
static const struct flag *table(const struct command *c, size_t i, const char **title)
{
	static const struct flag none[] = {FLAG_END};

	*title = "Flags";
	if (i == 0)
		return c->flags ? c->flags : none;
	if (i > FLAG_GROUPS_MAX || !c->groups[i - 1])
		return NULL;
	*title = c->groups[i - 1]->title;
	return c->groups[i - 1]->flags;
}

static const char *placeholder(const struct flag *f)
{
	if (f->value)
		return f->value;
	switch (f->kind) {
	case FLAG_INT: return "N";
	case FLAG_DURATION: return "DURATION";
	case FLAG_TIME: return "TIME";
	default: return "TEXT";
	}
}

static void put_choices(const struct flag *f, struct buf *out)
{
	for (size_t i = 0; f->choices[i]; i++)
		buf_printf(out, "%s%s", i ? "|" : "", f->choices[i]);
}

/* "-n, --limit N" */
static void put_flag(const struct flag *f, struct buf *out)
{
	if (f->letter)
		buf_printf(out, "-%c, ", f->letter);
	else
		buf_c(out, "    ");
	buf_printf(out, "--%s", f->name);
	if (f->kind == FLAG_CHOICE) {
		buf_char(out, ' ');
		put_choices(f, out);
	} else if (f->kind != FLAG_BOOL) {
		buf_printf(out, " %s", placeholder(f));
	}
}

/* What the help says behind its sentences. */
static void put_notes(const struct flag *f, struct buf *out)
{
	struct str rest = str_c(f->aliases);

	buf_c(out, f->help);
	if (f->fallback && *f->fallback && f->kind != FLAG_BOOL)
		buf_printf(out, " Default: %s.", f->fallback);
	for (bool first = true; rest.n; first = false) {
		struct str name = str_cut(&rest, ' ');
		buf_printf(out, "%s--%.*s", first ? " Also " : ", ", STR_ARG(name));
	}
	if (f->aliases)
		buf_char(out, '.');
	rest = str_c(f->env);
	for (bool first = true; rest.n; first = false) {
		struct str name = str_cut(&rest, ' ');
		buf_printf(out, "%s%.*s", first ? " [" : ", ", STR_ARG(name));
	}
	if (f->env)
		buf_char(out, ']');
}

/* --- help -------------------------------------------------------------- */

/* Append words, broken before HELP_WIDTH, `indent` columns from the left; the line is at `at`.  A
 * character is a column: all of ours are one wide. */
static void put_wrapped(struct buf *out, struct str text, size_t indent, size_t at)
{
	while (text.n) {
		struct str word = str_cut(&text, ' ');
		size_t width = rune_count(word);

		if (at > indent && at + 1 + width > HELP_WIDTH) {
			buf_printf(out, "\n%*s", (int)indent, "");
			at = indent;
		} else if (at > indent) {
			buf_char(out, ' ');
			at++;
		}
		buf_str(out, word);
		at += width;
	}
	buf_char(out, '\n');
}

static void put_row(struct buf *out, struct str left, struct str right)
{
	size_t width = 2 + rune_count(left);

	buf_c(out, "  ");
	buf_str(out, left);
	if (width + 2 > HELP_COLUMN) {
		buf_char(out, '\n');
		width = 0;
	}
	buf_printf(out, "%*s", (int)(HELP_COLUMN - width), "");
	put_wrapped(out, right, HELP_COLUMN, HELP_COLUMN);
}

static void usage(const struct command *c, struct buf *out)
{
	if (c->subs)
		buf_printf(out, "Usage: sawlog %s COMMAND [FLAG]…\n", c->name);
	else
		buf_printf(out, "Usage: sawlog %s [FLAG]…%s%s\n", c->name, *c->args ? " " : "",
			c->args);
}

static void put_subs(const struct command *c, struct buf *out)
{
	buf_c(out, "\nCommands:\n");
	for (size_t i = 0; c->subs[i]; i++)
		put_row(out, str_c(c->subs[i]->name), str_c(c->subs[i]->summary));
	buf_printf(out, "\nsawlog help %s tells about one.\n", c->subs[0]->name);
}

static void put_flags(const struct command *c, struct buf *out)
{
	const struct flag *f;
	const char *title;
	struct buf left = {0}, right = {0};

	for (size_t i = 0; (f = table(c, i, &title)); i++) {
		if (f->name)
			buf_printf(out, "\n%s:\n", title);
		for (; f->name; f++) {
			buf_clear(&left);
			buf_clear(&right);
			put_flag(f, &left);
			put_notes(f, &right);
			put_row(out, buf_view(&left), buf_view(&right));
		}
	}
	if (c->options) {
		buf_c(out, "\nSettings; each is also a key of sawlog's config file:\n");
		conf_help_flags(c->options, out);
		buf_c(out,
			"\nInputs and outputs have settings of their own: sawlog help sawlog.yaml.\n");
	}
	buf_fini(&left);
	buf_fini(&right);
}

/* Paragraphs are separated by an empty line; `text` without its last newline. */
static void put_paragraphs(struct buf *out, const char *text)
{
	struct str rest = str_c(text);

	while (rest.n) {
		ptrdiff_t at = str_find(rest, STR("\n\n"));
		struct str one = at < 0 ? rest : str_sub(rest, 0, (size_t)at);

		buf_char(out, '\n');
		put_wrapped(out, one, 0, 0);
		rest = at < 0 ? STR_NONE : str_sub(rest, (size_t)at + 2, rest.n);
	}
}

void manual_help(const struct command *c, struct buf *out)
{
	usage(c, out);
	buf_printf(out, "\nsawlog %s: %s.\n", c->name, c->summary);
	if (c->description)
		put_paragraphs(out, c->description);
	if (c->subs)
		put_subs(c, out);
	put_flags(c, out);
	if (c->examples)
		buf_printf(out, "\nExamples:\n");
	for (struct str rest = str_c(c->examples); rest.n;) {
		struct str line = str_cut(&rest, '\n');
		buf_printf(out, "  %.*s\n", STR_ARG(line));
	}
}

void manual_overview(struct buf *out)
{
	buf_c(out,
		"Usage: sawlog COMMAND [FLAG]…\n\n"
		"sawlog collects logs, keeps them, and answers queries in LogQL.\n\nCommands:\n");
	for (size_t i = 0; commands[i]; i++)
		buf_printf(out, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
	buf_c(out,
		"\nsawlog help COMMAND tells about one; sawlog help --man COMMAND | man -l - is its\n"
		"manual page.\n\nExit status:\n");
	for (size_t i = 0; i < N_EXITS; i++)
		buf_printf(out, "  %3d  %s\n", exits[i].code, exits[i].what);
}

/* --- manual pages ------------------------------------------------------ */

static void roff_title(struct buf *out, struct str name)
{
	buf_c(out, ".TH ");
	for (size_t i = 0; i < name.n; i++)
		buf_char(out, name.p[i] >= 'a' && name.p[i] <= 'z' ? name.p[i] - 32 : name.p[i]);
	buf_c(out, " 1 \"\" \"sawlog " SAWLOG_VERSION "\" \"User Commands\"\n");
}

static void roff_paragraphs(struct buf *out, const char *text)
{
	struct str rest = str_c(text);

	while (rest.n) {
		ptrdiff_t at = str_find(rest, STR("\n\n"));

		buf_c(out, ".PP\n");
		roff_put(out, at < 0 ? rest : str_sub(rest, 0, (size_t)at));
		buf_char(out, '\n');
		rest = at < 0 ? STR_NONE : str_sub(rest, (size_t)at + 2, rest.n);
	}
}

static void roff_flag(struct buf *out, const struct flag *f)
{
	struct buf text = {0};

	buf_c(out, ".TP\n\\fB");
	if (f->letter)
		buf_printf(out, "\\-%c\\fR, \\fB", f->letter);
	buf_c(out, "\\-\\-");
	roff_put(out, str_c(f->name));
	buf_c(out, "\\fR");
	if (f->kind == FLAG_CHOICE)
		put_choices(f, &text);
	else if (f->kind != FLAG_BOOL)
		buf_c(&text, placeholder(f));
	if (text.n) {
		buf_c(out, " \\fI");
		roff_put(out, buf_view(&text));
		buf_c(out, "\\fR");
	}
	buf_char(out, '\n');
	buf_clear(&text);
	put_notes(f, &text);
	roff_put(out, buf_view(&text));
	buf_char(out, '\n');
	buf_fini(&text);
}

static void roff_exits(struct buf *out)
{
	buf_c(out, ".SH EXIT STATUS\n");
	for (size_t i = 0; i < N_EXITS; i++) {
		buf_printf(out, ".TP\n\\fB%d\\fR\n", exits[i].code);
		roff_put(out, str_c(exits[i].what));
		buf_char(out, '\n');
	}
}

static void roff_examples(struct buf *out, const char *examples)
{
	buf_c(out, ".SH EXAMPLES\n.nf\n");
	roff_put(out, str_c(examples));
	buf_c(out, examples[strlen(examples) - 1] == '\n' ? ".fi\n" : "\n.fi\n");
}

void manual_page(const struct command *c, struct buf *out)
{
	struct buf name = {0};
	const struct flag *f;
	const char *title;

	buf_printf(&name, "sawlog-%s", c->name);
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] == ' ')
			name.p[i] = '-';
	roff_title(out, buf_view(&name));
	buf_c(out, ".SH NAME\n");
	roff_put(out, buf_view(&name));
	buf_printf(out, " \\- %s\n.SH SYNOPSIS\n\\fBsawlog %s\\fR %s[\\fIFLAG\\fR]\\&...",
		c->summary, c->name, c->subs ? "\\fICOMMAND\\fR " : "");
	if (*c->args) {
		buf_char(out, ' ');
		roff_put(out, str_c(c->args));
	}
	buf_c(out, "\n.SH DESCRIPTION\n");
	if (c->description)
		roff_paragraphs(out, c->description);
	else
		buf_printf(out, "sawlog %s: %s.\n", c->name, c->summary);
	for (size_t i = 0; c->subs && c->subs[i]; i++)
		buf_printf(out, "%s.TP\n\\fBsawlog %s\\fR\n%s\n", i ? "" : ".SH COMMANDS\n",
			c->subs[i]->name, c->subs[i]->summary);
	for (size_t i = 0; (f = table(c, i, &title)); i++) {
		if (f->name)
			buf_printf(out, i ? ".SS %s\n" : ".SH OPTIONS\n", title);
		for (; f->name; f++)
			roff_flag(out, f);
	}
	if (c->settings)
		buf_c(out, ".SH SETTINGS\nEach is also a key of sawlog's config file.\n");
	if (c->options)
		conf_manual(c->options, out);
	roff_exits(out);
	if (c->examples)
		roff_examples(out, c->examples);
	buf_c(out, ".SH SEE ALSO\n.BR sawlog (1)\n");
	buf_fini(&name);
}

void manual_page_overview(struct buf *out)
{
	roff_title(out, STR("sawlog"));
	buf_c(out,
		".SH NAME\nsawlog \\- collect, keep and search logs\n"
		".SH SYNOPSIS\n\\fBsawlog\\fR \\fICOMMAND\\fR [\\fIFLAG\\fR]\\&...\n"
		".SH DESCRIPTION\nsawlog collects logs, keeps them, and answers queries in LogQL.\n"
		".SH COMMANDS\n");
	for (size_t i = 0; commands[i]; i++) {
		buf_printf(out, ".TP\n\\fBsawlog\\-%s\\fR(1)\n", commands[i]->name);
		roff_put(out, str_c(commands[i]->summary));
		buf_char(out, '\n');
	}
	roff_exits(out);
}

void manual_page_config(const struct option *table, struct buf *out)
{
	buf_c(out,
		".TH SAWLOG.YAML 5 \"\" \"sawlog " SAWLOG_VERSION "\" \"File Formats\"\n"
		".SH NAME\nsawlog.yaml \\- configuration of sawlog serve\n"
		".SH DESCRIPTION\nA YAML file, read by \\fBsawlog serve \\-c\\fR and checked by "
		"\\fBsawlog check\\fR.  Every key is optional; each is also a flag of sawlog serve "
		"(\\-\\-http.listen) and an environment variable (SAWLOG_HTTP_LISTEN), which win "
		"over the file.  ${NAME} and ${NAME:\\-default} are replaced by the environment.\n"
		".SH SETTINGS\n");
	conf_manual(table, out);
	buf_c(out, ".SH SEE ALSO\n.BR sawlog (1)\n");
}

/* --- completion -------------------------------------------------------- */

/* "create list revoke " */
static void put_sub_names(const struct command *c, struct buf *out)
{
	for (size_t i = 0; c->subs && c->subs[i]; i++)
		buf_printf(out, "%s ", c->subs[i]->name + strlen(c->name) + 1);
}

/* "token\ create": for patterns of a shell's case. */
static void put_pattern(const struct command *c, struct buf *out)
{
	for (const char *s = c->name; *s; s++)
		buf_printf(out, "%s%c", *s == ' ' ? "\\" : "", *s);
}

/* All words behind a command: its flags with their aliases, or its own commands. */
static void put_flag_words(const struct command *c, struct buf *out)
{
	const struct flag *f;
	const char *title;

	put_sub_names(c, out);

	for (size_t i = 0; (f = table(c, i, &title)); i++)
		for (; f->name; f++) {
			struct str rest = str_c(f->aliases);

			buf_printf(out, "--%s ", f->name);
			while (rest.n) {
				struct str name = str_cut(&rest, ' ');
				buf_printf(out, "--%.*s ", STR_ARG(name));
			}
		}
	buf_c(out, "--help");
}

static void put_command_names(struct buf *out)
{
	for (size_t i = 0; commands[i]; i++)
		buf_printf(out, "%s%s", i ? " " : "", commands[i]->name);
}

/* "query:--output) words='default raw';;" for each flag with choices. */
static void bash_choices(const struct command *c, struct buf *out)
{
	const struct flag *f;
	const char *title;

	for (size_t i = 0; (f = table(c, i, &title)); i++)
		for (; f->name; f++) {
			if (f->kind != FLAG_CHOICE)
				continue;
			buf_char(out, '\t');
			put_pattern(c, out);
			buf_printf(out, ":--%s", f->name);
			if (f->letter) {
				buf_char(out, '|');
				put_pattern(c, out);
				buf_printf(out, ":-%c", f->letter);
			}
			buf_c(out, ") words='");
			for (size_t k = 0; f->choices[k]; k++)
				buf_printf(out, "%s%s", k ? " " : "", f->choices[k]);
			buf_c(out, "' ;;\n");
		}
}

static void completion_bash(struct buf *out)
{
	const struct command *c;

	buf_c(out, "# bash completion of sawlog: source <(sawlog completion bash)\n"
		   "_sawlog() {\n"
		   "\tlocal word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
		   "\tlocal command=${COMP_WORDS[1]} words=\n"
		   "\tif ((COMP_CWORD == 1)); then\n\t\twords='");
	put_command_names(out);
	buf_c(out, " --help --version'\n\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
		   "\t\treturn\n\tfi\n");
	for (size_t i = 0; commands[i]; i++)
		if (commands[i]->subs)
			buf_printf(out,
				"\t[[ $command == %s ]] && ((COMP_CWORD > 2)) && command+=\" "
				"${COMP_WORDS[2]}\"\n",
				commands[i]->name);
	buf_c(out, "\tcase $command:$before in\n");
	for (size_t i = 0; (c = command_nth(i)); i++)
		bash_choices(c, out);
	buf_c(out, "\tesac\n\tif [[ -z $words ]]; then\n\tcase $command in\n");
	for (size_t i = 0; (c = command_nth(i)); i++) {
		buf_char(out, '\t');
		put_pattern(c, out);
		buf_c(out, ") words='");
		put_flag_words(c, out);
		buf_c(out, "' ;;\n");
	}
	buf_c(out, "\tesac\n\t[[ $command == help ]] && words+=' ");
	put_command_names(out);
	buf_c(out, "'\n\t[[ $command == completion ]] && words+=' bash zsh fish'\n\tfi\n"
		   "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
		   "}\n"
		   "complete -o default -F _sawlog sawlog\n");
}

/* Inside single quotes of zsh's _arguments and of fish: no quote, no bracket, no colon. */
static void put_plain(struct buf *out, const char *s)
{
	for (; *s; s++)
		if (!strchr("'[]:\\", *s))
			buf_char(out, *s);
}

static void zsh_flag(const struct flag *f, struct buf *out)
{
	buf_printf(out, " \\\n\t\t'%s--%s[", f->kind == FLAG_REPEATED ? "*" : "", f->name);
	put_plain(out, f->help);
	buf_char(out, ']');
	if (f->kind == FLAG_CHOICE) {
		buf_printf(out, ":%s:(", f->name);
		for (size_t k = 0; f->choices[k]; k++)
			buf_printf(out, "%s%s", k ? " " : "", f->choices[k]);
		buf_char(out, ')');
	} else if (f->kind != FLAG_BOOL) {
		buf_printf(out, ":%s:_files", placeholder(f));
	}
	buf_char(out, '\'');
}

/* "token": the next word makes it "token create", and the flags are that one's. */
static void zsh_subs(struct buf *out)
{
	for (size_t i = 0; commands[i]; i++) {
		if (!commands[i]->subs)
			continue;
		buf_printf(out, "\tif [[ $command == %s ]]; then\n\t\tif ((CURRENT == 2)); then\n",
			commands[i]->name);
		buf_c(out, "\t\t\tcompadd -- ");
		put_sub_names(commands[i], out);
		buf_c(out, "\n\t\t\treturn\n\t\tfi\n\t\tcommand=\"$command $words[2]\"\n"
			   "\t\tshift words\n\t\t((CURRENT--))\n\tfi\n");
	}
}

static void completion_zsh(struct buf *out)
{
	const struct command *c;

	buf_c(out, "#compdef sawlog\n# zsh completion of sawlog: source <(sawlog completion zsh)\n"
		   "_sawlog() {\n\tlocal -a commands=(\n");
	for (size_t i = 0; commands[i]; i++) {
		buf_printf(out, "\t\t'%s:", commands[i]->name);
		put_plain(out, commands[i]->summary);
		buf_c(out, "'\n");
	}
	buf_c(out,
		"\t)\n\tif ((CURRENT == 2)); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n"
		"\tlocal command=$words[2]\n\tshift words\n\t((CURRENT--))\n");
	zsh_subs(out);
	buf_c(out, "\tcase $command in\n");
	for (size_t i = 0; (c = command_nth(i)); i++) {
		const struct flag *f;
		const char *title;

		if (c->subs)
			continue;
		buf_char(out, '\t');
		put_pattern(c, out);
		buf_c(out, ") _arguments");
		for (size_t k = 0; (f = table(c, k, &title)); k++)
			for (; f->name; f++)
				zsh_flag(f, out);
		buf_c(out, " \\\n\t\t'--help[Tell about this command]' '*:operand:_files' ;;\n");
	}
	buf_c(out, "\tesac\n}\n(( $+functions[compdef] )) && compdef _sawlog sawlog\n");
}

static void fish_seen(const struct command *c, struct buf *out)
{
	struct str rest = str_c(c->name);

	for (bool first = true; rest.n; first = false) {
		struct str word = str_cut(&rest, ' ');
		buf_printf(out, "%s__fish_seen_subcommand_from %.*s", first ? "" : "; and ",
			STR_ARG(word));
	}
}

/* The second word of "token create". */
static void fish_sub(const struct command *group, const struct command *c, struct buf *out)
{
	buf_printf(out,
		"complete -c sawlog -f -n '__fish_seen_subcommand_from %s; and not "
		"__fish_seen_subcommand_from ",
		group->name);
	put_sub_names(group, out);
	buf_printf(out, "' -a %s -d '", c->name + strlen(group->name) + 1);
	put_plain(out, c->summary);
	buf_c(out, "'\n");
}

static void fish_flag(const struct command *c, const struct flag *f, struct buf *out)
{
	buf_c(out, "complete -c sawlog -n '");
	fish_seen(c, out);
	buf_printf(out, "' -l %s", f->name);
	if (f->letter)
		buf_printf(out, " -s %c", f->letter);
	if (f->kind == FLAG_CHOICE) {
		buf_c(out, " -x -a '");
		for (size_t k = 0; f->choices[k]; k++)
			buf_printf(out, "%s%s", k ? " " : "", f->choices[k]);
		buf_char(out, '\'');
	} else if (f->kind != FLAG_BOOL) {
		buf_c(out, " -r");
	}
	buf_c(out, " -d '");
	put_plain(out, f->help);
	buf_c(out, "'\n");
}

static void completion_fish(struct buf *out)
{
	buf_c(out, "# fish completion of sawlog: sawlog completion fish | source\n");
	const struct command *c;
	const struct flag *f;
	const char *title;

	for (size_t i = 0; commands[i]; i++) {
		c = commands[i];
		buf_printf(
			out, "complete -c sawlog -f -n __fish_use_subcommand -a %s -d '", c->name);
		put_plain(out, c->summary);
		buf_c(out, "'\n");
		for (size_t k = 0; c->subs && c->subs[k]; k++)
			fish_sub(c, c->subs[k], out);
	}
	for (size_t i = 0; (c = command_nth(i)); i++)
		for (size_t k = 0; (f = table(c, k, &title)); k++)
			for (; f->name; f++)
				fish_flag(c, f, out);
}

int manual_completion(struct str shell, struct buf *out, struct error *e)
{
	if (str_eq_c(shell, "bash"))
		completion_bash(out);
	else if (str_eq_c(shell, "zsh"))
		completion_zsh(out);
	else if (str_eq_c(shell, "fish"))
		completion_fish(out);
	else
		return error_set(e, ERR_ARG,
			"no completion for \"%.*s\": must be bash, zsh or fish", STR_ARG(shell));
	return 0;
}
