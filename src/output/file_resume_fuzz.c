/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the journal of a file output: the first line is the state, the rest entries, whose
 * checksums are put right where a line begins with "!". */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "codec/codec.h"
#include "os/fake.h"
#include "output/file_resume.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_file(struct fs *fs, struct str text)
{
	struct buf out = {0};
	struct error e;

	while (text.n) {
		struct str line = str_cut(&text, '\n');
		if (line.n && line.p[0] == '!') {
			line = str_sub(line, 1, line.n);
			buf_printf(&out, "%08x ", crc32c(0, line.p, line.n));
		}
		buf_str(&out, line);
		buf_char(&out, '\n');
	}
	if (fs_write_all(fs, "d/files-0000000000000000", buf_view(&out), &e) < 0)
		abort();
	buf_fini(&out);
}

/* What is noted of the rest must be read again as it is. */
static void again(struct fs *fs, struct resume *r)
{
	const struct resume_file *f;
	struct buf state = {0};
	struct error e;
	const char *path;
	size_t at = 0, n = 0;

	resume_mark(r, &state);
	while ((path = resume_next(r, &at, &f))) {
		resume_note_rest(r, path, f);
		n++;
	}
	if (resume_write(r, false, &e) < 0)
		abort();
	resume_close(r);
	if (resume_open(&r, fs, "d", buf_view(&state), &e) < 0)
		abort();
	at = 0;
	while ((path = resume_next(r, &at, &f)))
		n--;
	if (n != 0)
		abort();
	resume_close(r);
	buf_fini(&state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make(data, size), state = str_cut(&text, '\n');
	struct fs *fs = fs_fake_new(1);
	struct resume *r;
	struct error e;

	log_set_level(LOG_ERROR);
	if (fs_mkdir(fs, "d", &e) < 0)
		abort();
	put_file(fs, text);
	if (resume_open(&r, fs, "d", state, &e) == 0)
		again(fs, r);
	fs_fake_free(fs);
	return 0;
}
