/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Selectors and pipelines.
 *
 *   selector = "{" [ matcher { "," matcher } ] "}"
 *   stage    = filter | "|" ( WORD arguments | label filter )
 *   filter   = ( "|=" | "!=" | "|~" | "!~" | "|>" | "!>" ) value { "or" value }
 *   value    = STRING | "ip" "(" STRING ")"
 *   reshape  = "|" ( "uniq" [ names ] | "top" NUMBER [ names ] | "sort" [ names ] [ "desc" ]
 *            | "context" { "-A" NUMBER | "-B" NUMBER | "-C" NUMBER } )     names: by (a, b)
 *
 * Words of Loki's stages are keywords behind a "|".  Those beyond Loki are not:
 * `| top > 5` and `| uniq != "x"` stay filters of labels that have these names.
 */
#include "query/parse.h"

enum {
	LIST_MAX = 256, /* items of a list in one stage */
	LIST_FIRST = 4, /* room for so many at first */
};

/* A growing list in the arena.  `list` holds n items of `size` bytes with room for *cap. */
static void *list_grow(struct parser *p, void *list, size_t n, size_t *cap, size_t size)
{
	void *more;

	if (n < *cap)
		return list;
	*cap = *cap ? *cap * 2 : LIST_FIRST;
	more = arena_array(&p->query->arena, *cap, size);
	if (n)
		memcpy(more, list, n * size);
	return more;
}

/* --- selectors ------------------------------------------------------------------------ */

static int parse_match_op(struct parser *p, enum match_op *out)
{
	switch (p->tok.kind) {
	case T_EQ: *out = MATCH_EQUAL; break;
	case T_NEQ: *out = MATCH_NOT_EQUAL; break;
	case T_RE: *out = MATCH_REGEX; break;
	case T_NRE: *out = MATCH_NOT_REGEX; break;
	default: return parse_unexpected(p, "= or =~ or !~ or !=");
	}
	return parse_next(p);
}

int parse_matcher(struct parser *p, struct matcher *m, const char *expecting)
{
	int r;

	if ((r = parse_identifier(p, expecting, &m->name)) < 0 ||
		(r = parse_match_op(p, &m->op)) < 0)
		return r;
	if (p->tok.kind != T_STRING)
		return parse_unexpected(p, "STRING");
	m->value = p->tok.value;
	if ((m->op == MATCH_REGEX || m->op == MATCH_NOT_REGEX) &&
		(r = parse_regex(p, REGEX_WHOLE, &m->regex)) < 0)
		return r;
	return parse_next(p);
}

int parse_selector(struct parser *p, struct log_expr *out)
{
	struct matcher *list = NULL;
	size_t n = 0, cap = 0;
	int r;

	if ((r = parse_expect(p, T_OPEN_BRACE, NULL)) < 0)
		return r;
	while (p->tok.kind != T_CLOSE_BRACE || n) {
		if (n == QUERY_MATCHERS_MAX)
			return parse_fail_at(p, &p->tok, "more than %d matchers in one selector",
				QUERY_MATCHERS_MAX);
		list = list_grow(p, list, n, &cap, sizeof *list);
		if ((r = parse_matcher(p, &list[n], n ? "IDENTIFIER" : "IDENTIFIER or }")) < 0)
			return r;
		n++;
		if (p->tok.kind == T_CLOSE_BRACE)
			break;
		if ((r = parse_expect(p, T_COMMA, "} or ,")) < 0)
			return r;
	}
	out->matchers = list;
	out->n_matchers = n;
	return parse_next(p);
}

/* --- line filters --------------------------------------------------------------------- */

static int parse_ip(struct parser *p, enum filter_op op, struct filter_value *out)
{
	struct ip_pattern *ip = ARENA_NEW(&p->query->arena, struct ip_pattern);
	struct error inner = {0};
	int r;

	if (op != FILTER_CONTAINS && op != FILTER_LACKS)
		return parse_fail_at(p, &p->tok, "ip() goes with |= and != alone, not with %s",
			filter_op_text(op));
	if ((r = parse_next(p)) < 0 || (r = parse_expect(p, T_OPEN_PAREN, "(")) < 0)
		return r;
	if (p->tok.kind != T_STRING)
		return parse_unexpected(p, "STRING");
	if ((r = ip_parse(ip, p->tok.value, &inner)) < 0)
		return parse_fail_with(p, &p->tok, r, &inner);
	out->text = p->tok.value;
	out->ip = ip;
	if ((r = parse_next(p)) < 0)
		return r;
	return parse_expect(p, T_CLOSE_PAREN, ")");
}

static int parse_filter_value(struct parser *p, enum filter_op op, struct filter_value *out)
{
	bool is_pattern = op == FILTER_PATTERN || op == FILTER_PATTERN_NOT;
	struct error inner = {0};
	int r;

	if (parse_is_word(&p->tok, "ip") && parse_peek(p).kind == T_OPEN_PAREN)
		return parse_ip(p, op, out);
	if (p->tok.kind != T_STRING)
		return parse_unexpected(p, "STRING or ip");
	out->text = p->tok.value;
	if (is_pattern && (r = filter_pattern_check(out->text, &inner)) < 0)
		return parse_fail_with(p, &p->tok, r, &inner);
	if (filter_op_is_regex(op) && (r = parse_regex(p, REGEX_LINE, &out->regex)) < 0)
		return r;
	return parse_next(p);
}

static int parse_filter(struct parser *p, enum filter_op op, struct stage **out)
{
	struct filter_value *first = NULL, **link = &first;
	size_t n = 0;
	int r;

	do {
		if (n++ == LIST_MAX)
			return parse_fail_at(
				p, &p->tok, "more than %d alternatives in one filter", LIST_MAX);
		if ((r = parse_next(p)) < 0)
			return r;
		*link = ARENA_NEW(&p->query->arena, struct filter_value);
		if ((r = parse_filter_value(p, op, *link)) < 0)
			return r;
		link = &(*link)->next;
	} while (parse_is_word(&p->tok, "or"));
	*out = filter_line_new(&p->query->arena, op, first);
	return 0;
}

/* --- stages with a word ---------------------------------------------------------------- */

/* a="b.c", d, …: nothing when no name follows. */
static int parse_extractions(struct parser *p, const struct extraction **out, size_t *n)
{
	struct extraction *list = NULL;
	size_t cap = 0;
	int r;

	*n = 0;
	while (p->tok.kind == T_IDENTIFIER || *n) {
		if (*n == LIST_MAX)
			return parse_fail_at(
				p, &p->tok, "more than %d labels to extract", LIST_MAX);
		list = list_grow(p, list, *n, &cap, sizeof *list);
		if ((r = parse_identifier(p, "IDENTIFIER", &list[*n].name)) < 0)
			return r;
		list[*n].path = list[*n].name;
		if (p->tok.kind == T_EQ &&
			((r = parse_next(p)) < 0 || (r = parse_string(p, &list[*n].path)) < 0))
			return r;
		++*n;
		if (p->tok.kind != T_COMMA)
			break;
		if ((r = parse_next(p)) < 0)
			return r;
	}
	*out = list;
	return 0;
}

static int parse_json(struct parser *p, struct stage **out, struct error *e)
{
	const struct extraction *list;
	size_t n;
	int r = parse_extractions(p, &list, &n);

	return r < 0 ? r : json_new(p->query, list, n, out, e);
}

static int parse_logfmt(struct parser *p, struct stage **out, struct error *e)
{
	const struct extraction *list;
	bool strict = false, keep_empty = false;
	size_t n;
	int r;

	for (; p->tok.kind == T_FLAG;) {
		if (str_eq_c(p->tok.text, "--strict"))
			strict = true;
		else if (str_eq_c(p->tok.text, "--keep-empty"))
			keep_empty = true;
		else
			return parse_fail_at(p, &p->tok,
				"unknown flag %.*s: logfmt has --strict and --keep-empty",
				STR_ARG(str_sub(p->tok.text, 0, 100)));
		if ((r = parse_next(p)) < 0)
			return r;
	}
	if ((r = parse_extractions(p, &list, &n)) < 0)
		return r;
	return logfmt_new(p->query, strict, keep_empty, list, n, out, e);
}

static int parse_regexp(struct parser *p, struct stage **out, struct error *e)
{
	struct str text;
	int r = parse_string(p, &text);

	return r < 0 ? r : regexp_new(p->query, text, out, e);
}

static int parse_pattern(struct parser *p, struct stage **out, struct error *e)
{
	struct str text;
	int r = parse_string(p, &text);

	return r < 0 ? r : pattern_new(p->query, text, out, e);
}

static int parse_unpack(struct parser *p, struct stage **out, struct error *e)
{
	(void)e;
	*out = unpack_new(p->query);
	return 0;
}

static int parse_line_format(struct parser *p, struct stage **out, struct error *e)
{
	struct str text;
	int r = parse_string(p, &text);

	return r < 0 ? r : stage_line_format_new(p->query, text, out, e);
}

/* a=b, c="template", … */
static int parse_label_format(struct parser *p, struct stage **out, struct error *e)
{
	struct label_assignment *list = NULL;
	size_t n = 0, cap = 0;
	int r;

	do {
		if (n == LIST_MAX)
			return parse_fail_at(p, &p->tok, "more than %d labels to set", LIST_MAX);
		if (n && (r = parse_next(p)) < 0)
			return r;
		list = list_grow(p, list, n, &cap, sizeof *list);
		if ((r = parse_identifier(p, "IDENTIFIER", &list[n].name)) < 0 ||
			(r = parse_expect(p, T_EQ, "=")) < 0)
			return r;
		list[n].is_template = p->tok.kind == T_STRING;
		r = list[n].is_template
			    ? parse_string(p, &list[n].value)
			    : parse_identifier(p, "IDENTIFIER or STRING", &list[n].value);
		if (r < 0)
			return r;
		n++;
	} while (p->tok.kind == T_COMMA);
	return label_format_new(p->query, list, n, out, e);
}

static int parse_decolorize(struct parser *p, struct stage **out, struct error *e)
{
	(void)e;
	*out = decolorize_new(p->query);
	return 0;
}

/* a, b="x", c=~"y", … of drop and keep. */
static int parse_choices(struct parser *p, const struct matcher **out, size_t *n)
{
	struct matcher *list = NULL;
	size_t cap = 0;
	int r;

	*n = 0;
	do {
		enum token_kind behind;
		if (*n == LIST_MAX)
			return parse_fail_at(p, &p->tok, "more than %d labels", LIST_MAX);
		if (*n && (r = parse_next(p)) < 0)
			return r;
		list = list_grow(p, list, *n, &cap, sizeof *list);
		behind = parse_peek(p).kind;
		if (behind == T_EQ || behind == T_NEQ || behind == T_RE || behind == T_NRE)
			r = parse_matcher(p, &list[*n], "IDENTIFIER");
		else
			r = parse_identifier(p, "IDENTIFIER", &list[*n].name);
		if (r < 0)
			return r;
		++*n;
	} while (p->tok.kind == T_COMMA);
	*out = list;
	return 0;
}

static int parse_drop(struct parser *p, struct stage **out, struct error *e)
{
	const struct matcher *list;
	size_t n;
	int r = parse_choices(p, &list, &n);

	(void)e;
	if (r == 0)
		*out = drop_new(p->query, list, n);
	return r;
}

static int parse_keep(struct parser *p, struct stage **out, struct error *e)
{
	const struct matcher *list;
	size_t n;
	int r = parse_choices(p, &list, &n);

	(void)e;
	if (r == 0)
		*out = keep_new(p->query, list, n);
	return r;
}

/* A whole number from 1 on. */
static int parse_count(struct parser *p, const char *what, uint64_t max, uint64_t *out)
{
	if (p->tok.kind != T_NUMBER)
		return parse_unexpected(p, "NUMBER");
	if (!str_u64(p->tok.text, out) || *out == 0 || *out > max)
		return parse_fail_at(p, &p->tok,
			"invalid number %.*s of %s: it must be a whole number from 1 to %llu",
			STR_ARG(str_sub(p->tok.text, 0, 40)), what, (unsigned long long)max);
	return parse_next(p);
}

static int parse_sample(struct parser *p, struct stage **out, struct error *e)
{
	uint64_t one_in;
	int r = parse_count(p, "sample", INT64_MAX, &one_in);

	return r < 0 ? r : sample_new(p->query, one_in, out, e);
}

static int parse_unroll(struct parser *p, struct stage **out, struct error *e)
{
	struct str name;
	int r = parse_identifier(p, "IDENTIFIER", &name);

	(void)e;
	if (r == 0)
		*out = unroll_new(p->query, name);
	return r;
}

/* The word is behind us.  Returns a code with the sentence in p->e, or, of the stage's maker, in
 * e, which knows no place. */
static const struct stage_word {
	const char *name;
	int (*parse)(struct parser *p, struct stage **out, struct error *e);
	bool beyond; /* Loki, hence no keyword */
} stage_words[] = {
	{"json", parse_json, false},
	{"logfmt", parse_logfmt, false},
	{"regexp", parse_regexp, false},
	{"pattern", parse_pattern, false},
	{"unpack", parse_unpack, false},
	{"line_format", parse_line_format, false},
	{"label_format", parse_label_format, false},
	{"decolorize", parse_decolorize, false},
	{"drop", parse_drop, false},
	{"keep", parse_keep, false},
	{"sample", parse_sample, true},
	{"unroll", parse_unroll, true},
};

static const struct stage_word *find_word(const struct parser *p)
{
	struct lexeme behind;

	for (size_t i = 0; i < sizeof stage_words / sizeof *stage_words; i++) {
		if (!parse_is_word(&p->tok, stage_words[i].name))
			continue;
		behind = parse_peek(p);
		return stage_words[i].beyond && parse_is_compare(&behind) ? NULL : &stage_words[i];
	}
	return NULL;
}

static int parse_word(struct parser *p, const struct stage_word *word, struct stage **out)
{
	struct lexeme begin = p->tok, argument;
	struct error inner = {0};
	int r;

	if (word->beyond)
		parse_beyond(p, &begin, word->name);
	if ((r = parse_next(p)) < 0)
		return r;
	/* What makes no sense is mostly the argument. */
	argument = p->tok.kind == T_STRING ? p->tok : begin;
	r = word->parse(p, out, &inner);
	return r < 0 && inner.text[0] ? parse_fail_with(p, &argument, r, &inner) : r;
}

/* --- reshapes ------------------------------------------------------------------------- */

static int parse_by(struct parser *p, struct reshape *out)
{
	int r;

	if (!parse_is_word(&p->tok, "by"))
		return 0;
	if ((r = parse_next(p)) < 0)
		return r;
	return parse_names(p, &out->names, &out->n);
}

/* -B 3, -A 3, -C 3 in any order, each later one wins. */
static int parse_around(struct parser *p, struct reshape *out)
{
	int r;

	do {
		struct lexeme flag;
		uint64_t n;
		if ((r = parse_expect(p, T_SUB, "-A or -B or -C")) < 0)
			return r;
		flag = p->tok;
		if (!parse_is_word(&flag, "A") && !parse_is_word(&flag, "B") &&
			!parse_is_word(&flag, "C"))
			return parse_unexpected(p, "-A or -B or -C");
		if ((r = parse_next(p)) < 0 ||
			(r = parse_count(p, "lines of context", QUERY_CONTEXT_MAX, &n)) < 0)
			return r;
		if (!parse_is_word(&flag, "A"))
			out->before = (uint32_t)n;
		if (!parse_is_word(&flag, "B"))
			out->after = (uint32_t)n;
	} while (p->tok.kind == T_SUB);
	return 0;
}

static int parse_reshape(struct parser *p, enum reshape_kind kind, struct reshape *out)
{
	int r;

	out->kind = kind;
	if ((r = parse_next(p)) < 0)
		return r;
	if (kind == RESHAPE_CONTEXT)
		return parse_around(p, out);
	if (kind == RESHAPE_TOP && (r = parse_count(p, "top", UINT32_MAX, &out->limit)) < 0)
		return r;
	if ((r = parse_by(p, out)) < 0 || kind != RESHAPE_SORT)
		return r;
	out->descending = parse_is_word(&p->tok, "desc");
	return out->descending || parse_is_word(&p->tok, "asc") ? parse_next(p) : 0;
}

static bool find_reshape(const struct parser *p, enum reshape_kind *out)
{
	struct lexeme behind;

	for (*out = 0; reshape_kind_name(*out); ++*out) {
		if (!parse_is_word(&p->tok, reshape_kind_name(*out)))
			continue;
		behind = parse_peek(p);
		return !parse_is_compare(&behind);
	}
	return false;
}

/* --- pipelines ------------------------------------------------------------------------ */

/* Where what comes next is linked in. */
struct tail {
	struct log_expr *log;
	struct range_expr *range; /* NULL: not within a metric */
	const struct stage **stage;
	const struct reshape **reshape;
	size_t n;
};

static struct tail tail_of(struct log_expr *log, struct range_expr *range)
{
	struct tail t = {
		.log = log, .range = range, .stage = &log->stages, .reshape = &log->reshapes};

	for (; *t.stage; t.stage = (const struct stage **)&(*t.stage)->next)
		t.n++;
	if (range && range->unwrap)
		t.stage = &range->after;
	for (; *t.stage; t.stage = (const struct stage **)&(*t.stage)->next)
		t.n++;
	for (; *t.reshape; t.reshape = (const struct reshape **)&(*t.reshape)->next)
		t.n++;
	return t;
}

static int append_reshape(struct parser *p, struct tail *t, enum reshape_kind kind)
{
	struct reshape *x = ARENA_NEW(&p->query->arena, struct reshape);
	int r;

	parse_beyond(p, &p->tok, reshape_kind_name(kind));
	if (t->range)
		return parse_fail_at(
			p, &p->tok, "%s has no place in a metric query", reshape_kind_name(kind));
	if ((r = parse_reshape(p, kind, x)) < 0)
		return r;
	*t->reshape = x;
	t->reshape = &x->next;
	return 1;
}

static int append_unwrap(struct parser *p, struct tail *t)
{
	static const char *const conversions[] = {
		[UNWRAP_DURATION] = "duration",
		[UNWRAP_DURATION_SECONDS] = "duration_seconds",
		[UNWRAP_BYTES] = "bytes",
	};
	struct unwrap *u = ARENA_NEW(&p->query->arena, struct unwrap);
	bool converts = false;
	int r;

	if (!t->range || t->range->unwrap)
		return parse_unexpected(p, NULL);
	if ((r = parse_next(p)) < 0)
		return r;
	for (unsigned i = UNWRAP_DURATION; i <= UNWRAP_BYTES; i++) {
		if (!parse_is_word(&p->tok, conversions[i]) || parse_peek(p).kind != T_OPEN_PAREN)
			continue;
		u->conversion = i;
		converts = true;
		if ((r = parse_next(p)) < 0 || (r = parse_next(p)) < 0)
			return r;
		break;
	}
	if ((r = parse_identifier(p,
		     converts ? "IDENTIFIER"
			      : "IDENTIFIER or bytes or duration or duration_seconds",
		     &u->name)) < 0 ||
		(converts && (r = parse_expect(p, T_CLOSE_PAREN, ")")) < 0))
		return r;
	t->range->unwrap = u;
	t->stage = &t->range->after;
	return 1;
}

/* A label filter, or a mistake: then what is told is what follows the word, as Loki tells it. */
static int parse_comparison(struct parser *p, struct stage **out)
{
	struct lexeme behind = parse_peek(p);
	int r;

	if (p->tok.kind == T_OPEN_PAREN ||
		(p->tok.kind == T_IDENTIFIER && parse_is_compare(&behind)))
		return parse_label_filter(p, out);
	if (p->tok.kind != T_IDENTIFIER)
		return parse_unexpected(p, NULL);
	return (r = parse_next(p)) < 0 ? r : parse_unexpected(p, NULL);
}

/* What follows a "|".  1 when it was no stage, but is in its place. */
static int parse_pipe(struct parser *p, struct tail *t, struct stage **out)
{
	const struct stage_word *word;
	enum reshape_kind kind;
	int r;

	if ((r = parse_next(p)) < 0)
		return r;
	if (find_reshape(p, &kind))
		return append_reshape(p, t, kind);
	if (t->log->reshapes)
		return parse_fail_at(p, &p->tok, "stages stand before uniq, top, sort and context");
	if (parse_is_word(&p->tok, "unwrap"))
		return append_unwrap(p, t);
	if (!(word = find_word(p)))
		return parse_comparison(p, out);
	/* Behind the unwrap the line has been read. */
	if (t->range && t->range->unwrap)
		return parse_unexpected(p, NULL);
	return parse_word(p, word, out);
}

static int parse_stage(struct parser *p, struct tail *t, struct stage **out)
{
	static const struct {
		enum token_kind kind;
		enum filter_op op;
	} filters[] = {
		{T_PIPE_EXACT, FILTER_CONTAINS},
		{T_NEQ, FILTER_LACKS},
		{T_PIPE_MATCH, FILTER_MATCHES},
		{T_NRE, FILTER_MATCHES_NOT},
		{T_PIPE_PATTERN, FILTER_PATTERN},
		{T_NOT_PATTERN, FILTER_PATTERN_NOT},
	};

	for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
		if (filters[i].kind != p->tok.kind)
			continue;
		if (t->log->reshapes || (t->range && t->range->unwrap))
			return parse_unexpected(p, NULL);
		return parse_filter(p, filters[i].op, out);
	}
	return parse_pipe(p, t, out);
}

bool parse_starts_stage(const struct lexeme *t)
{
	switch (t->kind) {
	case T_PIPE:
	case T_PIPE_EXACT:
	case T_PIPE_MATCH:
	case T_PIPE_PATTERN:
	case T_NEQ:
	case T_NRE:
	case T_NOT_PATTERN: return true;
	default: return false;
	}
}

int parse_stages(struct parser *p, struct log_expr *log, struct range_expr *range)
{
	struct tail t = tail_of(log, range);

	while (parse_starts_stage(&p->tok)) {
		struct lexeme begin = p->tok;
		struct stage *stage = NULL;
		int r;
		if (t.n++ == QUERY_STAGES_MAX)
			return parse_fail_at(
				p, &begin, "more than %d stages in one pipeline", QUERY_STAGES_MAX);
		if ((r = parse_stage(p, &t, &stage)) < 0)
			return r;
		if (r > 0)
			continue;
		*t.stage = stage;
		t.stage = &stage->next;
	}
	return 0;
}
