/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which lines belong to the one before them: stack traces of common languages.
 * Pure functions.
 */
#include "base/error.h"
#include "base/str.h"

enum trace_rule {
	TRACE_JAVA,
	TRACE_PYTHON,
	TRACE_GO,
	TRACE_RUBY,
	TRACE_PHP,
	TRACE_DOTNET,
	TRACE_RULES,
};

/* What is known of the record that the lines seen so far make; zeroed before its first line. */
struct trace {
	uint8_t at[TRACE_RULES]; /* each rule's state */
};

enum trace_answer {
	TRACE_NO,    /* the line begins a record of its own */
	TRACE_YES,   /* it goes on with the one at hand */
	TRACE_MAYBE, /* it does if a later one does (a blank line) */
};

/* A set of rules, bit 1 << enum trace_rule, by its name: "java" … "all".  ERR_ARG. */
int trace_rules(struct str name, unsigned *rules, struct error *e);
/* The first line of a record. */
void trace_begin(unsigned rules, struct str line, struct trace *t);
/* The line behind `previous`. */
enum trace_answer trace_continues(
	unsigned rules, struct trace *t, struct str previous, struct str line);
