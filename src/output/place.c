/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <dir>/cursor, replaced as a whole with rename and sync:
 *
 *   sawlog output 1\n
 *   kind seq delivered skipped missed oldest_ns state_bytes\n
 *   <state>
 *   crc32c of all before, 8 hex digits\n
 *
 * <dir>/paused is there while the output is paused.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "output/outputs_core.h"

enum { FILE_MAX = OUTPUT_STATE_MAX + 1024, CRC_BYTES = 9 };

static const struct str magic = STR_INIT("sawlog output 1\n");

void place_fini(struct place *p)
{
	buf_fini(&p->kind);
	buf_fini(&p->state);
	*p = (struct place){0};
}

static char *path_of(const char *dir, const char *name)
{
	struct buf path = {0};

	buf_printf(&path, "%s/%s", dir, name);
	buf_cstr(&path);
	return path.p;
}

/* The words of the second line. */
static bool parse(struct place *p, struct str line, struct str rest)
{
	struct str kind = str_cut(&line, ' ');
	uint64_t numbers[6];

	for (size_t i = 0; i < 6; i++)
		if (!str_u64(str_cut(&line, ' '), &numbers[i]))
			return false;
	if (line.n > 0 || kind.n == 0 || numbers[5] != rest.n || rest.n > OUTPUT_STATE_MAX)
		return false;
	p->seq = numbers[0];
	p->delivered = numbers[1];
	p->skipped = numbers[2];
	p->missed = numbers[3];
	p->oldest_ns = (int64_t)numbers[4];
	buf_str(&p->kind, kind);
	buf_str(&p->state, rest);
	return true;
}

static int parse_file(struct place *p, const char *path, struct str text, struct error *e)
{
	struct str body = str_sub(text, 0, text.n < CRC_BYTES ? 0 : text.n - CRC_BYTES);
	char crc[CRC_BYTES + 1];

	snprintf(crc, sizeof crc, "%08" PRIx32 "\n", crc32c(0, body.p, body.n));
	if (str_starts(body, magic) && str_eq_c(str_sub(text, body.n, text.n), crc)) {
		struct str rest = str_sub(body, magic.n, body.n);
		struct str line = str_cut(&rest, '\n');

		if (parse(p, line, rest))
			return 1;
	}
	return error_set(e, ERR_CORRUPT, "%s is damaged", path);
}

int place_load(struct place *p, struct fs *fs, const char *dir, struct error *e)
{
	char *path = path_of(dir, "cursor");
	struct buf text = {0};
	int r = fs_read_all(fs, path, FILE_MAX, &text, e);

	if (r == 0)
		r = parse_file(p, path, buf_view(&text), e);
	else if (r == ERR_NOT_FOUND)
		r = 0;
	else if (r == ERR_LIMIT)
		r = error_set(e, ERR_CORRUPT, "%s is damaged", path);
	buf_fini(&text);
	free(path);
	return r;
}

int place_save(const struct place *p, struct fs *fs, const char *dir, struct error *e)
{
	char *path = path_of(dir, "cursor");
	struct buf text = {0};
	int r;

	buf_str(&text, magic);
	buf_printf(&text, "%.*s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %zu\n",
		STR_ARG(buf_view(&p->kind)), p->seq, p->delivered, p->skipped, p->missed,
		(uint64_t)p->oldest_ns, p->state.n);
	buf_str(&text, buf_view(&p->state));
	buf_printf(&text, "%08" PRIx32 "\n", crc32c(0, text.p, text.n));
	r = fs_write_all(fs, path, buf_view(&text), e);
	buf_fini(&text);
	free(path);
	return r;
}

bool place_paused(struct fs *fs, const char *dir)
{
	char *path = path_of(dir, "paused");
	struct file_stat st;
	bool paused = fs_stat(fs, path, &st, NULL) == 0;

	free(path);
	return paused;
}

int place_set_paused(struct fs *fs, const char *dir, bool paused, struct error *e)
{
	char *path = path_of(dir, "paused");
	int r;

	if (paused)
		r = fs_write_all(fs, path, STR("by sawlog output pause\n"), e);
	else if ((r = fs_unlink(fs, path, e)) == 0)
		r = fs_sync_dir(fs, dir, e);
	else if (r == ERR_NOT_FOUND)
		r = 0;
	free(path);
	return r;
}
