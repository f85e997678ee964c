/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of alerts share: groups that are watched, and the book of them.
 * Not for others.  Thread rule: under the lock of the alerts, unless a line says
 * otherwise.
 */
#include "alert/alerts.h"
#include "alert/new_template.h"

enum {
	STATES_FILE_MAX = 64 << 20, /* bytes */
	ALERT_WARNING_MAX = 300,
};

/* A rule, and how it stands. */
struct watched {
	/* Fixed. */
	const struct rule *rule;
	struct query *query;       /* NULL: a recording rule, a restored one, or a new_template */
	struct new_template fresh; /* its query NULL: none */
	/* Of the thread that evaluates it. */
	struct new_template_memory *memory;
	/* Under the lock. */
	struct alert_set set;
	char error[sizeof((struct error *)0)->text]; /* of the last evaluation */
	char warning[ALERT_WARNING_MAX];             /* likewise */
	int64_t evaluated_ns, took_ns;
};

/* A group that is watched. */
struct watch {
	/* Fixed. */
	struct str tenant, space, text; /* the text is what the group is, in its canonical form */
	struct arena arena;
	struct rule_group group;
	struct watched *rules;
	/* Under the lock. */
	unsigned refs;
	bool gone;       /* it is in the book no more */
	int64_t last_ns; /* the time it was last due at */
};

struct book {
	struct watch **all;
	size_t n, cap;
};

/* One reference.  ERR_ARG: the text is no group. */
int watch_new(
	struct watch **out, struct str tenant, struct str space, struct str text, struct error *e);
void watch_unref(struct watch *w);              /* NULL is fine */
void book_add(struct book *b, struct watch *w); /* takes the reference */
void book_fini(struct book *b);
/* The one of the same text; NULL: none. */
struct watch *book_find(const struct book *b, struct str tenant, struct str space, struct str text);
/* What the rules of `old` know goes to those of the same names in `fresh`, where these are not the
 * same groups.  `lost` is told of rules that are not there any more; then old is emptied. */
void book_succeed(struct book *old, const struct book *fresh,
	void (*lost)(void *arg, const struct watch *w, struct watched *r), void *arg);

/* The groups of the configuration. */
struct group_text {
	struct str space, text;
};

struct group_texts {
	struct arena arena;
	struct group_text *all;
	size_t n, cap;
};

/* Any thread.  ERR_ARG with file and line; then there is nothing to be finished. */
int group_texts_load(
	struct group_texts *out, const struct alert_settings *s, struct fs *fs, struct error *e);
void group_texts_fini(struct group_texts *g);

/* states.json: each rule with alerts, by its names.  How many alerts did not fit. */
size_t states_write(const struct book *b, int64_t now_ns, struct buf *out);
/* Read it as a book of groups without expressions, for book_succeed.  ERR_CORRUPT: it is none. */
int states_read(struct book *out, struct str json, int64_t now_ns, struct error *e);
