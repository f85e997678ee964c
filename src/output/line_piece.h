/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Formats in Python's styles '%' and '{', compiled into pieces: text, and the
 * field behind it with how its value is to be written.
 * Thread rule: pieces are immutable once they are compiled.
 */
#include "base/arena.h"
#include "codec/percent.h"
#include "output/line_spec.h"

enum { LINE_PIECES_MAX = 1000 };

struct line_piece {
	struct str literal; /* what stands in front */
	enum { PUT_NOTHING, PUT_PERCENT, PUT_BRACE } put;
	bool plain;      /* the value alone: no width, no conversion */
	char conversion; /* to text first, as str(), repr() or ascii(): 's' 'r' 'a', else 0 */
	struct line_field field;
	uint16_t slots[FIELD_LABELS_MAX]; /* the user's: where the field's labels are found */
	union {
		struct percent_spec percent;
		struct line_spec brace;
	};
};

struct line_pieces {
	struct line_piece *items; /* of the arena */
	size_t n, cap;
};

/* Append the pieces of `text`, of which they hold views; without a field in it only when `plain`.
 * ERR_ARG with Python's sentence and the column, ERR_LIMIT. */
int line_percent_compile(
	struct line_pieces *out, struct arena *a, struct str text, bool plain, struct error *e);
int line_brace_compile(
	struct line_pieces *out, struct arena *a, struct str text, bool plain, struct error *e);
/* Append the value of the piece's field as the piece wants it, without the literal; what it cannot
 * be converted to is put in as text. */
void line_piece_put(const struct line_piece *p, const struct line_value *v, struct buf *out);
/* Append the value as str() has it. */
void line_value_put(const struct line_value *v, struct buf *out);
