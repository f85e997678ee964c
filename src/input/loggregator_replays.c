/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signature of 2013 covers the text alone: whoever has seen one may put it
 * with another application, time or drain, or send it again.  But it begins
 * with random bytes, so no honest sender sends the same one twice, and those
 * that came lately are remembered.
 *
 * Two tables of 8 bytes a signature: when the younger is full, the older is
 * thrown away.  8 of the encrypted bytes tell signatures apart: they are as
 * random as the cipher, and who could choose them has the secret.
 */
#include <stdlib.h>

#include "input/loggregator_input.h"

enum { SLOTS = 1 << 17, TABLE_BYTES = SLOTS * (int)sizeof(uint64_t), KEY_AT = 16 };

struct replays {
	struct account *account;
	uint64_t *young, *old;
	size_t n; /* in the younger one */
};

struct replays *replays_new(struct account *account)
{
	struct replays *s = xcalloc(1, sizeof *s);

	s->account = account;
	if (account)
		account_force(account, 2 * TABLE_BYTES);
	s->young = xcalloc(SLOTS, sizeof *s->young);
	s->old = xcalloc(SLOTS, sizeof *s->old);
	return s;
}

void replays_free(struct replays *s)
{
	if (!s)
		return;
	if (s->account)
		account_release(s->account, 2 * TABLE_BYTES);
	free(s->young);
	free(s->old);
	free(s);
}

/* Where it is, or would be. */
static uint64_t *slot(uint64_t *table, uint64_t key)
{
	size_t at = key & (SLOTS - 1);

	while (table[at] && table[at] != key)
		at = (at + 1) & (SLOTS - 1);
	return &table[at];
}

bool replays_add(struct replays *s, struct str signature)
{
	uint64_t key, *at, *table;

	if (signature.n < KEY_AT + sizeof key)
		return true;
	memcpy(&key, signature.p + KEY_AT, sizeof key);
	key += key == 0; /* 0 is an empty slot */
	at = slot(s->young, key);
	if (*at || *slot(s->old, key))
		return false;
	if (s->n == REPLAYS_MIN) {
		table = s->old;
		s->old = s->young;
		s->young = table;
		memset(table, 0, TABLE_BYTES);
		s->n = 0;
		at = slot(table, key);
	}
	*at = key;
	s->n++;
	return true;
}
