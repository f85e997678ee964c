/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "codec/protobuf.h"

static void test_each_kind(void **state)
{
	struct str at = STR("\x08\x96\x01"           /* 1: 150 */
			    "\x11\1\2\3\4\5\6\7\x88" /* 2: fixed64 */
			    "\x1a\x03"
			    "abc"                      /* 3: bytes */
			    "\x25\xff\xff\xff\xff"     /* 4: fixed32 */
			    "\xfa\xff\xff\xff\x0f\x00" /* 536870911: bytes, empty */
			    "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"); /* 1: -1 */
	struct protobuf_field f;

	assert_int_equal(protobuf_next(&at, &f), 1);
	assert_true(protobuf_is(&f, 1, PROTOBUF_VARINT));
	assert_int_equal(f.value, 150);
	assert_int_equal(protobuf_next(&at, &f), 1);
	assert_true(protobuf_is(&f, 2, PROTOBUF_FIXED64));
	assert_true(f.value == 0x8807060504030201);
	assert_int_equal(protobuf_next(&at, &f), 1);
	assert_true(protobuf_is(&f, 3, PROTOBUF_BYTES));
	assert_false(protobuf_is(&f, 3, PROTOBUF_VARINT));
	assert_true(str_eq(f.bytes, STR("abc")));
	assert_int_equal(protobuf_next(&at, &f), 1);
	assert_true(protobuf_is(&f, 4, PROTOBUF_FIXED32));
	assert_int_equal(f.value, UINT32_MAX);
	assert_int_equal(protobuf_next(&at, &f), 1);
	assert_int_equal(f.number, (1 << 29) - 1);
	assert_int_equal(f.bytes.n, 0);
	assert_int_equal(protobuf_next(&at, &f), 1);
	assert_true(f.value == UINT64_MAX);
	assert_int_equal(protobuf_next(&at, &f), 0);
}

static void test_what_is_refused(void **state)
{
	static const struct str bad[] = {
		STR_INIT("\x00\x01"),                                     /* number 0 */
		STR_INIT("\x80\x80\x80\x80\x10\x01"),                     /* number 2^29 */
		STR_INIT("\x80"),                                         /* a cut tag */
		STR_INIT("\x08"),                                         /* no value */
		STR_INIT("\x08\x80"),                                     /* a cut value */
		STR_INIT("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), /* 65 bits */
		STR_INIT("\x0a\x04"
			 "abc"), /* shorter than it says */
		STR_INIT("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		STR_INIT("\x09\1\2\3\4\5\6\7"), /* 7 of 8 bytes */
		STR_INIT("\x0d\1\2\3"),
		STR_INIT("\x0b\x0c"), /* a group */
		STR_INIT("\x0c"),
		STR_INIT("\x0e"), /* no such type */
		STR_INIT("\x0f"),
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct str at = bad[i];
		struct protobuf_field f;
		assert_int_equal(protobuf_next(&at, &f), ERR_CORRUPT);
	}
}

/* What is written is read, with messages inside whose length takes one byte and more. */
static void test_written_is_read(void **state)
{
	static const size_t sizes[] = {0, 1, 100, 127, 128, 16383, 16384, 2100000};
	struct buf out = {0}, inner = {0};
	struct protobuf_field f;
	double v = -2.5;

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct str at, in;
		size_t outer, begun;

		buf_clear(&out);
		buf_clear(&inner);
		buf_reserve(&inner, sizes[i] + 1);
		memset(inner.p, 'x', sizes[i]);
		inner.n = sizes[i];
		protobuf_put_number(&out, 1, UINT64_MAX);
		outer = protobuf_begin(&out, 2);
		begun = protobuf_begin(&out, 500);
		protobuf_put_bytes(&out, 3, buf_view(&inner));
		protobuf_end(&out, begun);
		protobuf_put_double(&out, 4, v);
		protobuf_end(&out, outer);
		at = buf_view(&out);
		assert_int_equal(protobuf_next(&at, &f), 1);
		assert_true(protobuf_is(&f, 1, PROTOBUF_VARINT) && f.value == UINT64_MAX);
		assert_int_equal(protobuf_next(&at, &f), 1);
		assert_true(protobuf_is(&f, 2, PROTOBUF_BYTES) && at.n == 0);
		in = f.bytes;
		assert_int_equal(protobuf_next(&in, &f), 1);
		assert_true(protobuf_is(&f, 500, PROTOBUF_BYTES));
		at = f.bytes;
		assert_int_equal(protobuf_next(&at, &f), 1);
		assert_true(protobuf_is(&f, 3, PROTOBUF_BYTES));
		assert_true(str_eq(f.bytes, buf_view(&inner)));
		assert_int_equal(protobuf_next(&in, &f), 1);
		assert_true(protobuf_is(&f, 4, PROTOBUF_FIXED64));
		assert_memory_equal(&f.value, &v, sizeof v);
		assert_int_equal(in.n, 0);
	}
	buf_fini(&out);
	buf_fini(&inner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_kind),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_written_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
