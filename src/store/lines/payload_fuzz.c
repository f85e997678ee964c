/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the directory of a payload, with the checksum made right: it is
 * refused, or everything it says lies inside of the payload.  The first byte
 * says how many templates the block has, the second how many rows.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "codec/codec.h"
#include "store/lines/payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void put32(char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (char)(v >> (8 * i));
}

static void check_place(const struct payload *p, const struct payload_place *place)
{
	if (place->chunk >= p->n_chunks || place->at > p->chunks[place->chunk].raw ||
		place->n > p->chunks[place->chunk].raw - place->at)
		abort();
}

static void check(const struct payload *p, uint64_t bytes)
{
	for (uint32_t i = 0; i < p->n_chunks; i++)
		if (p->chunks[i].at > bytes || p->chunks[i].stored > bytes - p->chunks[i].at)
			abort();
	for (uint32_t i = 0; i < p->first[p->n_templates]; i++) {
		if (p->places[i].chunk != PAYLOAD_POOLED)
			check_place(p, &p->places[i]);
		else if (p->places[i].at >= p->n_pools)
			abort();
	}
	for (uint32_t i = 0; i < p->n_pools; i++) {
		check_place(p, &p->pools[i].references);
		check_place(p, &p->pools[i].values);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct str keys[] = {
		STR_INIT("\x02\x01\x01\x00\x01\x02\x0c"
			 "a b"),
		STR_INIT("\x00"
			 "nothing"),
		STR_INIT("\x01\x00\x03\x08!"),
	};
	struct template templates[3];
	const struct template *block[255];
	struct buf head = {0};
	struct payload p;

	if (n < 4)
		return 0;
	for (int i = 0; i < 3; i++)
		if (template_parse(&templates[i], keys[i], NULL) < 0)
			abort();
	for (int i = 0; i < 255; i++)
		block[i] = &templates[i % 3];
	/* Chunks take what the third and fourth byte say. */
	uint64_t bytes = PAYLOAD_HEADER + (n - 4) + data[2] + 256U * data[3];
	buf_reserve(&head, PAYLOAD_HEADER);
	put32(head.p, (uint32_t)(n - 4));
	put32(head.p + 4, (uint32_t)(n - 4));
	put32(head.p + 8, crc32c(crc32c(0, head.p, 8), data + 4, n - 4));
	head.n = PAYLOAD_HEADER;
	buf_put(&head, data + 4, n - 4);
	if (payload_decode(&p, buf_view(&head), bytes, data[1], block, data[0], NULL) == 0)
		check(&p, bytes);
	payload_fini(&p);
	for (int i = 0; i < 3; i++)
		template_fini(&templates[i]);
	buf_fini(&head);
	return 0;
}
