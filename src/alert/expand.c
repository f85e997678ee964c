/* SPDX-License-Identifier: Apache-2.0 */
#include "alert/expand.h"

#include <stdlib.h>

#include "alert/alert.h"
#include "base/memory.h"
#include "query/template_text.h"
#include "record/labels.h"

/* A text of the rule. */
struct text {
	const struct rule_pair *pair;
	struct template_text *template; /* NULL: it is plain, or does not parse */
	char *broken;                   /* why it does not; NULL when it does */
};

struct expander {
	const struct rule *rule;
	struct text *labels, *annotations;
	struct labels_builder builder;
};

static bool is_template(struct str s)
{
	return str_find(s, STR("{{")) >= 0;
}

static int check_pairs(const struct rule_pair *pairs, size_t n, struct error *e)
{
	struct template_text *t;
	int r;

	for (size_t i = 0; i < n; i++) {
		if (!is_template(pairs[i].value))
			continue;
		if ((r = template_text_new(&t, pairs[i].value, e)) < 0)
			return error_wrap(e, ERR_ARG, "%.*s", STR_ARG(pairs[i].name));
		template_text_free(t);
	}
	return 0;
}

int expand_check(const struct rule *r, struct error *e)
{
	int code;

	if (!r->alerts)
		return 0; /* labels of recording rules are plain */
	if ((code = check_pairs(r->labels, r->n_labels, e)) < 0 ||
		(code = check_pairs(r->annotations, r->n_annotations, e)) < 0)
		return error_wrap(e, code, "alert %.*s", STR_ARG(r->name));
	return 0;
}

static struct text *texts_new(const struct rule_pair *pairs, size_t n)
{
	struct text *texts = xcalloc(n, sizeof *texts);
	struct error e;

	for (size_t i = 0; i < n; i++) {
		texts[i].pair = &pairs[i];
		if (is_template(pairs[i].value) &&
			template_text_new(&texts[i].template, pairs[i].value, &e) < 0)
			texts[i].broken = xstrdup(e.text);
	}
	return texts;
}

static void texts_free(struct text *texts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		template_text_free(texts[i].template);
		free(texts[i].broken);
	}
	free(texts);
}

struct expander *expander_new(const struct rule *r)
{
	struct expander *x = xcalloc(1, sizeof *x);

	x->rule = r;
	x->labels = texts_new(r->labels, r->n_labels);
	x->annotations = texts_new(r->annotations, r->n_annotations);
	return x;
}

void expander_free(struct expander *x)
{
	if (!x)
		return;
	texts_free(x->labels, x->rule->n_labels);
	texts_free(x->annotations, x->rule->n_annotations);
	labels_builder_fini(&x->builder);
	free(x);
}

/* At the end of a character, where it would be too long. */
static struct str cut(struct str s)
{
	if (s.n <= ALERT_VALUE_MAX)
		return s;
	s.n = ALERT_VALUE_MAX;
	while (s.n > 0 && ((unsigned char)s.p[s.n] & 0xc0) == 0x80)
		s.n--;
	return s;
}

static void set_failed(struct expander *x, struct str name, const char *why)
{
	struct buf text = {0};

	buf_printf(&text, "<error expanding template: %s>", why);
	labels_builder_set(&x->builder, name, buf_view(&text), NULL);
	buf_fini(&text);
}

/* A set that is full takes no more: the alert is worth more than its labels. */
static void set_texts(
	struct expander *x, struct text *texts, size_t n, const struct template_about *about)
{
	for (size_t i = 0; i < n; i++) {
		struct str name = texts[i].pair->name, value = texts[i].pair->value;
		struct error e;

		if (texts[i].broken)
			set_failed(x, name, texts[i].broken);
		else if (texts[i].template &&
			 template_text_run(texts[i].template, about, &value, &e) < 0)
			set_failed(x, name, e.text);
		else
			labels_builder_set(&x->builder, name, cut(value), NULL);
	}
}

void expander_labels(struct expander *x, const struct template_about *about, struct buf *out)
{
	struct str at = about->labels;
	struct label l;

	labels_builder_clear(&x->builder);
	x->builder.names_free = false;
	labels_start(&at);
	while (labels_next(&at, &l))
		if (!str_eq_c(l.name, "__name__"))
			labels_builder_set(&x->builder, l.name, l.value, NULL);
	set_texts(x, x->labels, x->rule->n_labels, about);
	labels_builder_set(&x->builder, STR("alertname"), cut(x->rule->name), NULL);
	labels_builder_write(&x->builder, out);
}

void expander_annotations(struct expander *x, const struct template_about *about, struct buf *out)
{
	labels_builder_clear(&x->builder);
	x->builder.names_free = true;
	set_texts(x, x->annotations, x->rule->n_annotations, about);
	labels_builder_write(&x->builder, out);
}
