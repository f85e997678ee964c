/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Not a test: what formatting a record costs, ns a line, for usual formats.
 */
#include <stdio.h>
#include <stdlib.h>

#include "os/clock.h"
#include "output/line_format.h"
#include "record/labels.h"

enum { ROUNDS = 2000000 };

static const char *const pairs[][2] = {
	{"app", "billing"},
	{"funcName", "pay"},
	{"host", "web-17.example.org"},
	{"input", "python"},
	{"levelno", "20"},
	{"lineno", "42"},
	{"logger", "shop.cart.payment"},
	{"pathname", "/srv/shop/cart/payment.py"},
	{"process", "7712"},
	{"processName", "MainProcess"},
	{"service_name", "billing"},
	{"severity", "INFO"},
	{"thread", "140000000000000"},
	{"threadName", "MainThread"},
};

static void measure(
	const char *what, struct line_settings s, struct output_record *r, int per_second)
{
	struct line_format *f;
	struct buf out = {0};
	struct error e;
	int64_t start;
	size_t bytes = 0;

	if (line_format_new(&f, &s, &e) < 0) {
		fprintf(stderr, "%s: %s\n", what, e.text);
		exit(1);
	}
	start = clock_mono_ns(clock_real());
	for (int i = 0; i < ROUNDS; i++) {
		r->timestamp += NS_PER_SEC / per_second;
		buf_clear(&out);
		line_format_put(f, r, &out);
		bytes += out.n;
	}
	printf("%-44s %5.0f ns a line of %zu bytes\n", what,
		(double)(clock_mono_ns(clock_real()) - start) / ROUNDS, bytes / ROUNDS);
	line_format_free(f);
	buf_fini(&out);
}

int main(void)
{
	static const char usual[] = "%(asctime)s %(levelname)s [%(logger_name)s] %(message)s";
	struct labels_builder b = {.names_free = true};
	struct output_record r = {.timestamp = INT64_C(1795255200000000000), .severity = 9};
	struct buf labels = {0};

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		labels_builder_set(&b, str_c(pairs[i][0]), str_c(pairs[i][1]), NULL);
	labels_builder_write(&b, &labels);
	r.labels = buf_view(&labels);
	r.line = STR("payment 8127361 of customer 99121 was taken: 17.50 EUR by card in 213 ms");
	measure("message alone", (struct line_settings){0}, &r, 1000);
	measure("percent", (struct line_settings){.format = usual}, &r, 1000);
	measure("percent, a new second each", (struct line_settings){.format = usual}, &r, 1);
	measure("percent, widths and numbers",
		(struct line_settings){.format = "[ %(asctime)-15s ][ %(levelname)-7s ][ %(host)s "
						 "][ %(processName)-11s ][ %(message)s ][ "
						 "%(module)s.%(funcName)s(%(lineno)d) ]",
			.datefmt = "%Y-%m-%d,%H:%M:%S.%f"},
		&r, 1000);
	measure("brace",
		(struct line_settings){.style = LINE_BRACE,
			.format = "{asctime} {levelname:<8} [{logger_name}] {message}"},
		&r, 1000);
	measure("template",
		(struct line_settings){.style = LINE_TEMPLATE,
			.format = "{{.asctime}} {{.levelname}} [{{.logger}}] {{__line__}}"},
		&r, 1000);
	r.line = STR(
		"Traceback (most recent call last):\n  File \"a.py\", line 3, in gr\xc3\xbc\xc3\x9f"
		"e\n    raise ValueError('nein \xe2\x82\xac')\nValueError: nein \xe2\x82\xac");
	measure("percent, four lines beyond ASCII", (struct line_settings){.format = usual}, &r,
		1000);
	labels_builder_fini(&b);
	buf_fini(&labels);
	return 0;
}
