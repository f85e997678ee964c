/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Silences as anybody may post them, and the files that silences and notifiers
 * find at their start, which may be damaged: whatever is read can be written
 * and read again.  The first byte says which.
 */
#include <assert.h>
#include <stdlib.h>

#include "alert/notify_core.h"
#include "alert/silences.h"
#include "os/fake.h"

#define NOW (INT64_C(1784887200) * NS_PER_SEC)

static void fuzz_silences(struct str text, bool file)
{
	struct fs *fs = fs_fake_new(1);
	struct clock *clock = clock_fake_new(NOW);
	struct silences *s;
	struct buf before = {0}, after = {0}, id = {0};

	if (file)
		fs_write_all(fs, "s.json", text, NULL);
	assert(silences_open(&s, fs, clock, "s.json", NULL) == 0);
	if (!file && silences_put(s, STR("default"), text, &id, NULL) == 0)
		assert(id.n > 0);
	silences_match(s, STR("default"), STR("\0"), NOW);
	silences_json(s, STR("default"), STR_NONE, &before, NULL);
	silences_close(s);
	if (!file) {
		assert(silences_open(&s, fs, clock, "s.json", NULL) == 0);
		silences_json(s, STR("default"), STR_NONE, &after, NULL);
		assert(str_eq(buf_view(&before), buf_view(&after)));
		silences_close(s);
	}
	buf_fini(&before);
	buf_fini(&after);
	buf_fini(&id);
	fs_fake_free(fs);
	clock_fake_free(clock);
}

static void fuzz_notebook(struct str text)
{
	struct notifier_settings settings = {.repeat = NS_PER_SEC, .send_resolved = true};
	struct notebook b;
	struct message m;
	struct buf out = {0};
	int64_t ready;
	size_t n;

	notebook_init(&b, &settings, true, NULL);
	if (notebook_read(&b, text, NOW, NULL) == 0) {
		notebook_look(&b, NULL, NOW, false, &ready);
		while (notebook_message(&b, NOW, true, &m)) {
			notebook_told(&b, &m, NOW);
			message_fini(&m);
		}
		n = b.entries.n;
		notebook_write(&b, &out);
		notebook_fini(&b);
		notebook_init(&b, &settings, true, NULL);
		assert(notebook_read(&b, buf_view(&out), NOW, NULL) == 0);
		/* Names that are not UTF-8 may have become one. */
		assert(b.entries.n <= n);
	}
	notebook_fini(&b);
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text;

	if (size == 0)
		return 0;
	text = str_make(data + 1, size - 1);
	if (data[0] % 3 == 2)
		fuzz_notebook(text);
	else
		fuzz_silences(text, data[0] % 3 == 1);
	return 0;
}
