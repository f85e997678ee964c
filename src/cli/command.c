/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines.  Each flag has one value slot, filled three times at most:
 * from its fallback, the environment, the words; the last one wins, so the
 * order of the passes is the precedence.  Values are checked as they are put,
 * so that a bad one in the environment is found too, and named as such.
 */
#include "cli/command.h"

#include <assert.h>
#include <stdlib.h>

#include "base/duration.h"
#include "base/memory.h"
#include "record/time.h"

struct flag_value {
	const struct flag *flag;
	const char *text; /* NULL: absent */
	int64_t number;   /* of kinds that have one */
	const char **list;
	size_t n_list;
	bool given, typed;
};

/* What is only needed while parsing. */
struct parse {
	struct command_line *cl;
	char **at; /* the next word */
	const char **settings;
	size_t n_settings;
	size_t n_words; /* bounds settings, operands and lists */
	bool only_operands;
};

const struct command *const commands[] = {
#define COMMAND(id) &command_##id,
#include "cli/commands.def"
#undef COMMAND
	NULL,
};

/* --- names ------------------------------------------------------------- */

/* The nearest of the names offered, for "did you mean". */
struct nearest {
	struct str word, best;
	unsigned distance;
};

static void nearest_offer(struct nearest *n, struct str name)
{
	unsigned d = str_distance(n->word, name, n->distance);

	if (d < n->distance) {
		n->distance = d;
		n->best = name;
	}
}

/* A third of the letters may be wrong, and one more: two that changed places count as two. */
static struct nearest nearest_start(struct str word)
{
	return (struct nearest){
		.word = word, .distance = (unsigned)(word.n < 4 ? 2 : word.n / 3 + 2)};
}

const struct command *command_nth(size_t n)
{
	for (size_t i = 0; commands[i]; i++) {
		if (n-- == 0)
			return commands[i];
		for (size_t k = 0; commands[i]->subs && commands[i]->subs[k]; k++)
			if (n-- == 0)
				return commands[i]->subs[k];
	}
	return NULL;
}

const struct command *command_find(struct str name, struct error *e)
{
	struct nearest near = nearest_start(name);
	const struct command *c;

	for (size_t i = 0; (c = command_nth(i)); i++) {
		if (str_eq_c(name, c->name))
			return c;
		nearest_offer(&near, str_c(c->name));
	}
	if (near.best.n)
		error_set(e, ERR_ARG, "unknown command \"%.*s\", did you mean \"%.*s\"?",
			STR_ARG(name), STR_ARG(near.best));
	else
		error_set(e, ERR_ARG, "unknown command \"%.*s\"", STR_ARG(name));
	return NULL;
}

static bool has_alias(const struct flag *f, struct str name)
{
	struct str rest = str_c(f->aliases);

	while (rest.n)
		if (str_eq(str_cut(&rest, ' '), name))
			return true;
	return false;
}

static void offer_flag(struct nearest *near, const struct flag *f)
{
	struct str rest = str_c(f->aliases);

	nearest_offer(near, str_c(f->name));
	while (rest.n)
		nearest_offer(near, str_cut(&rest, ' '));
}

static struct flag_value *find_long(struct command_line *cl, struct str name)
{
	for (size_t i = 0; i < cl->n_values; i++)
		if (str_eq_c(name, cl->values[i].flag->name) || has_alias(cl->values[i].flag, name))
			return &cl->values[i];
	return NULL;
}

static struct flag_value *find_letter(struct command_line *cl, char letter)
{
	for (size_t i = 0; i < cl->n_values; i++)
		if (cl->values[i].flag->letter == letter)
			return &cl->values[i];
	return NULL;
}

static int unknown_flag(struct command_line *cl, struct str name, struct error *e)
{
	struct nearest near = nearest_start(name);

	nearest_offer(&near, STR("help"));
	for (size_t i = 0; i < cl->n_values; i++)
		offer_flag(&near, cl->values[i].flag);
	if (near.best.n)
		return error_set(e, ERR_ARG, "unknown flag --%.*s, did you mean --%.*s?",
			STR_ARG(name), STR_ARG(near.best));
	return error_set(e, ERR_ARG, "unknown flag --%.*s", STR_ARG(name));
}

/* --- values ------------------------------------------------------------ */

static int bad_value(const char *where, const char *text, const char *want, struct error *e)
{
	return error_set(e, ERR_ARG, "%s: must be %s, got \"%s\"", where, want, text);
}

static int read_bool(const char *where, const char *text, int64_t *out, struct error *e)
{
	if (!strcmp(text, "true") || !strcmp(text, "1") || !strcmp(text, "yes"))
		*out = 1;
	else if (!strcmp(text, "false") || !strcmp(text, "0") || !strcmp(text, "no"))
		*out = 0;
	else
		return bad_value(where, text, "true or false", e);
	return 0;
}

static int read_int(
	const struct flag *f, const char *where, const char *text, int64_t *out, struct error *e)
{
	char want[80] = "a whole number";

	if (f->min || f->max)
		snprintf(want, sizeof want, "a whole number from %lld to %lld", (long long)f->min,
			(long long)f->max);
	if (!str_i64(str_c(text), out) || ((f->min || f->max) && (*out < f->min || *out > f->max)))
		return bad_value(where, text, want, e);
	return 0;
}

static int read_choice(
	const struct flag *f, const char *where, const char *text, int64_t *out, struct error *e)
{
	struct buf all = {0};

	for (int i = 0; f->choices[i]; i++) {
		if (!strcmp(f->choices[i], text)) {
			*out = i;
			buf_fini(&all);
			return 0;
		}
		buf_printf(&all, "%s%s", i ? ", " : "one of ", f->choices[i]);
	}
	bad_value(where, text, buf_cstr(&all), e);
	buf_fini(&all);
	return ERR_ARG;
}

/* `where` names the origin in sentences: "--limit" or "SAWLOG_LIMIT". */
static int put_value(
	struct parse *p, struct flag_value *v, const char *where, const char *text, struct error *e)
{
	const struct flag *f = v->flag;
	int r = 0;

	switch (f->kind) {
	case FLAG_BOOL: r = read_bool(where, text, &v->number, e); break;
	case FLAG_INT: r = read_int(f, where, text, &v->number, e); break;
	case FLAG_CHOICE: r = read_choice(f, where, text, &v->number, e); break;
	case FLAG_DURATION:
		if (!duration_parse(str_c(text), &v->number))
			r = bad_value(where, text, "a duration such as 30s, 5m or 1h30m", e);
		break;
	case FLAG_TIME:
		if (!time_parse_human(str_c(text), p->cl->now_ns, &v->number))
			r = bad_value(where, text,
				"a time such as 2026-08-21T10:00:00Z, \"2026-08-21 10:00\", yesterday or 1h "
				"(ago)",
				e);
		break;
	case FLAG_REPEATED:
		if (!v->list)
			v->list = ARENA_ARRAY(&p->cl->arena, const char *, p->n_words + 2);
		if (!v->typed)
			v->n_list = 0; /* the first word replaces the fallback */
		v->list[v->n_list++] = text;
		break;
	case FLAG_STRING: break;
	}
	v->text = text;
	return r;
}

static int put_environment(struct parse *p, struct flag_value *v, struct error *e)
{
	struct str rest = str_c(v->flag->env);

	while (rest.n) {
		struct str name = str_cut(&rest, ' ');
		const char *var = arena_c(&p->cl->arena, name), *text = getenv(var);
		int r;

		if (!text || !*text)
			continue;
		if ((r = put_value(p, v, var, text, e)) < 0)
			return r;
		v->given = true;
		return 0;
	}
	return 0;
}

static int put_typed(
	struct parse *p, struct flag_value *v, const char *where, const char *text, struct error *e)
{
	int r;

	if ((r = put_value(p, v, where, text, e)) < 0)
		return r;
	v->given = v->typed = true;
	if (v->flag->setting)
		p->settings[p->n_settings++] =
			arena_printf(&p->cl->arena, "%s=%s", v->flag->setting, text);
	return 0;
}

/* --- words ------------------------------------------------------------- */

static void put_setting(struct parse *p, struct str key, const char *value)
{
	const char *text = value;

	if (!text)
		text = *p->at && (*p->at)[0] != '-' ? *p->at++ : "true";
	p->settings[p->n_settings++] = arena_printf(&p->cl->arena, "%.*s=%s", STR_ARG(key), text);
}

static int long_flag(struct parse *p, char *word, struct error *e)
{
	struct str value = str_c(word + 2), name = str_cut(&value, '=');
	const char *text = value.p, *where = arena_printf(&p->cl->arena, "--%.*s", STR_ARG(name));
	struct flag_value *v = find_long(p->cl, name);

	if (!v && p->cl->command->settings) {
		put_setting(p, name, text);
		return 0;
	}
	if (!v)
		return unknown_flag(p->cl, name, e);
	if (!text && v->flag->kind == FLAG_BOOL)
		text = "true";
	if (!text && !(text = *p->at++)) {
		p->at--;
		return error_set(e, ERR_ARG, "%s: needs a value", where);
	}
	return put_typed(p, v, where, text, e);
}

/* -n 5, -n5, and letters of booleans in one word: -qv. */
static int short_flags(struct parse *p, char *word, struct error *e)
{
	for (char *c = word + 1; *c; c++) {
		struct flag_value *v = find_letter(p->cl, *c);
		char where[3] = {'-', *c, 0};
		char *text = c[1] ? c + 1 : *p->at;
		int r;

		if (!v)
			return error_set(e, ERR_ARG, "unknown flag %s", where);
		if (v->flag->kind == FLAG_BOOL) {
			if ((r = put_typed(p, v, where, "true", e)) < 0)
				return r;
			continue;
		}
		if (!text)
			return error_set(e, ERR_ARG, "%s: needs a value", where);
		if (!c[1])
			p->at++;
		return put_typed(p, v, where, text, e);
	}
	return 0;
}

static int words(struct parse *p, struct error *e)
{
	struct command_line *cl = p->cl;
	int r = 0;

	while (*p->at && r == 0) {
		char *word = *p->at++;

		if (p->only_operands || word[0] != '-' || !word[1])
			cl->args[cl->n_args++] = word;
		else if (!strcmp(word, "--"))
			p->only_operands = true;
		else if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
			cl->help = true;
			return 0;
		} else if (word[1] == '-')
			r = long_flag(p, word, e);
		else
			r = short_flags(p, word, e);
	}
	return r;
}

static int check_operands(const struct command_line *cl, struct error *e)
{
	const struct command *c = cl->command;

	if (cl->n_args < c->min_args)
		return error_set(e, ERR_ARG, "needs %s", c->args);
	if (cl->n_args > c->max_args && c->max_args == 0)
		return error_set(e, ERR_ARG, "takes no operand, got \"%s\"", cl->args[0]);
	if (cl->n_args > c->max_args)
		return error_set(e, ERR_ARG, "too many operands: \"%s\"%s", cl->args[c->max_args],
			strstr(c->args, "LOGQL") ? " (quote a query as one word)" : "");
	return 0;
}

static size_t add_slots(struct command_line *cl, const struct flag *f, struct flag_value *out)
{
	size_t n = 0;

	for (; f && f->name; f++, n++)
		if (out)
			out[n].flag = f;
	return n;
}

static size_t all_slots(struct command_line *cl, struct flag_value *out)
{
	const struct command *c = cl->command;
	size_t n = add_slots(cl, c->flags, out);

	for (size_t i = 0; i < FLAG_GROUPS_MAX && c->groups[i]; i++)
		n += add_slots(cl, c->groups[i]->flags, out ? out + n : NULL);
	return n;
}

static int defaults(struct parse *p, struct error *e)
{
	for (size_t i = 0; i < p->cl->n_values; i++) {
		struct flag_value *v = &p->cl->values[i];
		int r;

		if (v->flag->fallback &&
			(r = put_value(p, v, v->flag->name, v->flag->fallback, e)) < 0)
			return r;
	}
	return 0;
}

static int environment(struct parse *p, struct error *e)
{
	for (size_t i = 0; i < p->cl->n_values; i++) {
		/* What was typed wins: then a bad value in the environment does not matter. */
		int r = p->cl->values[i].typed ? 0 : put_environment(p, &p->cl->values[i], e);

		if (r < 0)
			return r;
	}
	return 0;
}

int command_line_parse(struct command_line *cl, const struct command *c, char **argv,
	int64_t now_ns, struct error *e)
{
	struct parse p = {.cl = cl, .at = argv};
	int r;

	*cl = (struct command_line){
		.command = c, .raw = argv, .out = stdout, .err = stderr, .now_ns = now_ns};
	arena_init(&cl->arena, NULL);
	while (argv[p.n_words])
		p.n_words++;
	cl->args = ARENA_ARRAY(&cl->arena, char *, p.n_words + 1);
	p.settings = ARENA_ARRAY(&cl->arena, const char *, p.n_words + 1);
	cl->settings = p.settings;
	cl->n_values = all_slots(cl, NULL);
	cl->values = ARENA_ARRAY(&cl->arena, struct flag_value, cl->n_values + 1);
	all_slots(cl, cl->values);
	if ((r = defaults(&p, e)) < 0 || (r = words(&p, e)) < 0 || cl->help ||
		(r = environment(&p, e)) < 0)
		return r;
	return check_operands(cl, e);
}

void command_line_fini(struct command_line *cl)
{
	arena_fini(&cl->arena);
	cl->n_values = cl->n_args = 0;
}

/* --- reading ----------------------------------------------------------- */

static const struct flag_value *value_of(const struct command_line *cl, const char *name)
{
	for (size_t i = 0; i < cl->n_values; i++)
		if (!strcmp(cl->values[i].flag->name, name))
			return &cl->values[i];
	assert(!"a flag of this command");
	abort();
}

bool flag_given(const struct command_line *cl, const char *name)
{
	return value_of(cl, name)->given;
}

bool flag_typed(const struct command_line *cl, const char *name)
{
	return value_of(cl, name)->typed;
}

bool flag_bool(const struct command_line *cl, const char *name)
{
	return value_of(cl, name)->number != 0;
}

const char *flag_string(const struct command_line *cl, const char *name)
{
	return value_of(cl, name)->text;
}

int64_t flag_int(const struct command_line *cl, const char *name)
{
	return value_of(cl, name)->number;
}

int flag_choice(const struct command_line *cl, const char *name)
{
	return (int)value_of(cl, name)->number;
}

size_t flag_count(const struct command_line *cl, const char *name)
{
	return value_of(cl, name)->n_list;
}

const char *flag_nth(const struct command_line *cl, const char *name, size_t i)
{
	const struct flag_value *v = value_of(cl, name);

	assert(i < v->n_list);
	return v->list[i];
}

/* --- failing ----------------------------------------------------------- */

int exit_code_of(int error_code)
{
	switch (error_code) {
	case 0: return EXIT_OK;
	case ERR_ARG:
	case ERR_LIMIT:
	case ERR_UNSUPPORTED: return EXIT_USAGE;
	case ERR_NET: return EXIT_UNREACHABLE;
	case ERR_DENIED: return EXIT_AUTH;
	case ERR_IO:
	case ERR_CORRUPT:
	case ERR_NOT_FOUND:
	case ERR_EXISTS: return EXIT_IO;
	case ERR_CANCELLED: return EXIT_INTERRUPTED;
	default: return EXIT_TEMPORARY; /* busy, full, timeout, closed, gap */
	}
}

/* A sentence may quote what a server sent: it must not drive the terminal. */
static void put_sentence(struct command_line *cl, const char *text)
{
	fprintf(cl->err, "sawlog %s: ", cl->command->name);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		fputc((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? '?' : c, cl->err);
	}
	fputc('\n', cl->err);
}

int command_fail(struct command_line *cl, const struct error *e)
{
	put_sentence(cl, e->text);
	return exit_code_of(e->code);
}

int command_usage(struct command_line *cl, const struct error *e)
{
	put_sentence(cl, e->text);
	fprintf(cl->err, "Try: sawlog help %s\n", cl->command->name);
	return EXIT_USAGE;
}
