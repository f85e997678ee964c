/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The members of a JSON object at the start of a line, for looking a few
 * fields up without parsing it: the line may be cut at any byte or be no JSON
 * at all.  Members of objects inside it are stepped over.  Pure functions.
 */
#include "base/str.h"

enum {
	OBJECT_BYTES = 1024, /* looked at: a field may stand behind the message */
};

struct object {
	struct str s;
	size_t at;
	int depth;
};

/* `s` starts with '{'. */
void object_start(struct object *o, struct str s);
/* The next member: its name between the quotes as it is written, and all that follows its colon
 * and blanks.  False at the end. */
bool object_next(struct object *o, struct str *name, struct str *from_value);
/* What stands between the quotes of the string at the start of `s`, as it is written, up to the
 * end of `s` where it is cut; else the number or word there, up to , ] } or a blank. */
struct str object_scalar(struct str s);
