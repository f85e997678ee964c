/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Cutting a line into constant text and values.
 *
 * Values are what varies from line to line and has a type: runs of decimal
 * digits, runs of hexadecimal digits, UUIDs, and tokens in which letters and
 * digits alternate so often that they must be made by chance.  Everything else
 * is constant text: it belongs to the line's template.
 *
 * A token is a longest run of [0-9A-Za-z].  One without a decimal digit is
 * constant text, but in a chain (rule 2).  Of the others, by the first rule that fits:
 *
 *   1. Eight hexadecimal digits that begin 8-4-4-4-12 of them, with '-' between
 *      and not followed by a letter or digit, none of the other case: SLOT_UUID,
 *      all 36 bytes.  Without any letter it counts as lower case.
 *   2. Chains, as hardware and IPv6 addresses are: six or more groups of 1 to 4
 *      hexadecimal digits of one case, joined by ':' or '::', three when one of
 *      the joints is '::', one of them at least of letters and digits.  Each of
 *      the groups is SLOT_TEXT, whatever is in it.
 *   3. Decimal digits alone: SLOT_NUMBER up to 9, SLOT_LONG up to 19, else
 *      SLOT_TEXT.
 *   4. "0x" and hexadecimal digits alone: "0x" is constant, and what follows is
 *      SLOT_TEXT up to 5 digits (a short address has letters in it or not by
 *      chance, and must not make a template each time), else as in rule 5, with
 *      or without letters.
 *   5. Hexadecimal digits of both sorts and one case: SLOT_HEX from 6 to 128,
 *      SLOT_TEXT when 4, 5 or more than 128.
 *   6. Made by chance: SLOT_TEXT.  A change is where a digit stands beside a
 *      letter or a capital behind a small letter; so many are chance when they
 *      are more than four, or at least three and a quarter of the token, which
 *      is of 8 bytes or more.  (A random name of 62 letters and digits changes
 *      at every second byte; "x86", "worker12", "20250821T100000Z" do not.)
 *   7. Its digit runs are values of their own as in rule 3, its letters constant.
 *
 * SLOT_TEXT of more than TOKEN_TEXT_MAX bytes is cut into slots of that size and
 * a rest, which follow each other without text between.
 * Thread rule: pure.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* On disk in templates; never renumbered. */
enum slot_kind {
	SLOT_NUMBER = 1,     /* 1 to 9 decimal digits; how many is part of the value ("007") */
	SLOT_LONG = 2,       /* 10 to 19 decimal digits; how many is part of the slot */
	SLOT_HEX = 3,        /* 6 to 128 digits 0-9a-f; how many: of the slot */
	SLOT_HEX_UPPER = 4,  /* 0-9A-F */
	SLOT_UUID = 5,       /* 8-4-4-4-12 digits 0-9a-f */
	SLOT_UUID_UPPER = 6, /* 0-9A-F */
	SLOT_TEXT = 7,       /* 1 to TOKEN_TEXT_MAX bytes of [0-9A-Za-z] */
};

enum {
	TOKEN_TEXT_MAX = 255,
	TOKEN_HEX_MIN = 6,
	TOKEN_HEX_MAX = 128,
	TOKEN_UUID = 36,           /* bytes */
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

/* The same hash, of a template: begin with TOKEN_HASH, then for each slot the constant text before
 * it with the slot, at last the text behind the last slot (kind 0).  It is not kept on disk. */
#define TOKEN_HASH UINT64_C(0x9e3779b97f4a7c15)
uint64_t token_hash(uint64_t hash, struct str text, uint8_t kind, uint8_t width);
