/* SPDX-License-Identifier: Apache-2.0 */
/* An Authorization header and a file of tokens, separated by the first NUL byte. */
#include <assert.h>
#include <stdlib.h>

#include "net/token_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_header(struct str value)
{
	char room[TOKEN_HEADER_MAX];
	struct str secret;

	if (!token_of_header(value, room, &secret))
		return;
	assert(secret.n >= 1 && secret.n <= TOKEN_HEADER_MAX);
	assert((secret.p >= value.p && secret.p + secret.n <= value.p + value.n) ||
		secret.p == room);
}

/* What was read is written so that it reads as the same. */
static void check_line(const struct token_entry *en)
{
	struct buf line = {0};
	struct token_entry again;

	token_line_format(&line, en);
	assert(line.p[line.n - 1] == '\n');
	if (token_line_parse(str_sub(buf_view(&line), 0, line.n - 1), &again, NULL) < 0)
		abort();
	assert(memcmp(en->hash, again.hash, TOKEN_HASH) == 0);
	assert(en->token.scopes == again.token.scopes);
	assert(en->token.created_ns == again.token.created_ns);
	assert(en->token.expires_ns == again.token.expires_ns);
	assert(!strcmp(en->token.id, again.token.id) && !strcmp(en->token.name, again.token.name));
	assert(!strcmp(en->token.tenant, again.token.tenant));
	buf_fini(&line);
}

static void check_file(struct str text)
{
	struct token_entries all = {0};
	struct str line;

	token_file_parse(text, &all, NULL);
	for (size_t i = 0; i < all.n; i++) {
		check_line(&all.items[i]);
		assert(token_line_find(text, str_c(all.items[i].token.id), &line));
		assert(line.p >= text.p && line.p + line.n <= text.p + text.n);
	}
	token_entries_fini(&all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str rest = str_make(data, n), header = str_cut(&rest, 0);

	check_header(header);
	check_file(rest.p ? rest : header);
	return 0;
}
