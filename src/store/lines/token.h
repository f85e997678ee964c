/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Cutting a line into constant text and values.
 *
 * Values are what varies from line to line and has a type: runs of decimal
 * digits, runs of hexadecimal digits, UUIDs, and tokens in which letters and
 * digits alternate so often that they must be made by chance.  Everything else
 * is constant text: it belongs to the line's template.
 * Thread rule: pure.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* On disk in templates; never renumbered. */
enum slot_kind {
	SLOT_NUMBER = 1,     /* 1 to 9 decimal digits; how many is part of the value ("007") */
	SLOT_LONG = 2,       /* 10 to 19 decimal digits; how many is part of the slot */
	SLOT_HEX = 3,        /* 6 to 128 digits 0-9a-f, of both sorts; how many: of the slot */
	SLOT_HEX_UPPER = 4,  /* 0-9A-F */
	SLOT_UUID = 5,       /* 8-4-4-4-12 digits 0-9a-f */
	SLOT_UUID_UPPER = 6, /* 0-9A-F */
	SLOT_TEXT = 7,       /* 1 to TOKEN_TEXT_MAX bytes of [0-9A-Za-z] */
};

enum {
	TOKEN_TEXT_MAX = 255,
	TOKEN_SLOTS_MAX = 255,     /* of one line; a line with more has no template */
	TOKEN_LINE_MAX = 32 << 10, /* a longer line has none either */
};

struct token {
	uint32_t at;   /* in the line */
	uint16_t n;    /* bytes */
	uint8_t kind;  /* enum slot_kind */
	uint8_t width; /* digits of SLOT_LONG, SLOT_HEX and SLOT_HEX_UPPER, which tell templates
			* apart; 0 for the others */
};

/* The values of a line, ascending, not touching each other but where two slots follow each other
 * without text between.  *hash is of the constant text, the slots' places in it, their kinds and
 * widths: equal for lines of one template.  Returns how many there are, -1 for a line that has no
 * template.  `out` has room for TOKEN_SLOTS_MAX. */
int tokens_of(struct str line, struct token *out, uint64_t *hash);
