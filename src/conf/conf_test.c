/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/listen.h"
#include "conf/mode.h"
#include "conf/roff.h"
#include "conf/sample.h"

static struct arena arena;
static struct sample settings;
static struct conf_errors errors;

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	buf_fini(&errors.text);
	return 0;
}

static int load(const char *yaml, const char *const *flags, bool environment)
{
	struct conf_source src = {.file = "/etc/sawlog.yaml",
		.text = str_c(yaml),
		.flags = flags,
		.environment = environment};

	buf_clear(&errors.text);
	errors.n = 0;
	settings = (struct sample){0};
	return conf_load(&settings, sample_table, &src, &arena, &errors);
}

static void good(const char *yaml)
{
	if (load(yaml, NULL, false) < 0)
		fail_msg("%s", buf_cstr(&errors.text));
	assert_int_equal(errors.n, 0);
}

/* `want` without the name of the file. */
static void bad(const char *yaml, const char *want)
{
	char whole[1000];

	assert_int_equal(load(yaml, NULL, false), ERR_ARG);
	snprintf(whole, sizeof whole, "/etc/sawlog.yaml:%s\n", want);
	assert_string_equal(buf_cstr(&errors.text), whole);
	assert_int_equal(errors.n, 1);
}

static void test_fallbacks(void **state)
{
	(void)state;
	good("");
	assert_true(settings.strict);
	assert_int_equal(settings.memory, 256 << 20);
	assert_true(settings.timeout == 30000000000 && settings.wait == 0);
	assert_null(settings.name);
	assert_string_equal(settings.data, "/etc/data");
	assert_int_equal(settings.durability, 1);
	assert_int_equal(settings.words.n, 2);
	assert_string_equal(settings.words.items[1], "b");
	assert_string_equal(settings.http.listen.items[0], "127.0.0.1:3100");
	assert_int_equal(settings.http.n_threads, 4);
	assert_int_equal(settings.inputs.n + settings.paths.n + settings.labels.n, 0);
	good("# only a comment\n");
	good("---\nhttp:\ninputs:\nlabels: ~\n");
}

static void test_values(void **state)
{
	const struct sample_syslog *s;

	(void)state;
	good("strict: off\ncount: -3\nmemory: 1.5GiB\ntimeout: 1m30s\nwait: 30d\nname: 'a: b'\n"
	     "data: /var/x\ndurability: sync\npaths: [a, /b/*.log, ./c]\nwords: one\n"
	     "labels: {app: web, n: 12}\nhttp: {listen: [':80', '[::1]:81'], n_threads: 8}\n"
	     "inputs:\n  - syslog: {listen: [UDP://LocalHost:514, tcp://127.0.0.1:0514],\n"
	     "             tls: {cert: c.pem}}\n  - stdin:\n");
	assert_false(settings.strict);
	assert_int_equal(settings.count, -3);
	assert_true(settings.memory == 1610612736 && settings.timeout == 90000000000);
	assert_true(settings.wait == INT64_C(30) * 86400 * 1000000000);
	assert_string_equal(settings.name, "a: b");
	assert_string_equal(settings.data, "/var/x");
	assert_int_equal(settings.durability, 0);
	assert_int_equal(settings.paths.n, 3);
	assert_string_equal(settings.paths.items[0], "/etc/a");
	assert_string_equal(settings.paths.items[1], "/b/*.log");
	assert_string_equal(settings.paths.items[2], "/etc/c");
	assert_int_equal(settings.words.n, 1);
	assert_string_equal(settings.labels.items[1].name, "n");
	assert_string_equal(settings.labels.items[1].value, "12");
	assert_string_equal(settings.http.listen.items[0], "0.0.0.0:80");
	assert_string_equal(settings.http.listen.items[1], "[::1]:81");
	assert_int_equal(settings.inputs.n, 2);
	assert_string_equal(settings.inputs.items[1].kind, "stdin");
	assert_int_equal(settings.inputs.items[0].line, 14);
	s = settings.inputs.items[0].settings;
	assert_string_equal(s->listen.items[0], "udp://localhost:514");
	assert_string_equal(s->listen.items[1], "tcp://127.0.0.1:514");
	assert_int_equal(s->max_line, 65536);
	assert_string_equal(s->tls.cert, "/etc/c.pem");
}

static void test_problems(void **state)
{
	(void)state;
	bad("memori: 1GiB", "1:1: memori: unknown setting (did you mean \"memory\"?)");
	bad("http:\n  listne: x", "2:3: http.listne: unknown setting (did you mean \"listen\"?)");
	bad("http: {zzzzzz: 1}", "1:8: http.zzzzzz: unknown setting; there are: listen, n_threads");
	bad("count: 1\ncount: 2", "2:1: count: already set on line 1");
	bad("count: 11", "1:8: count: must be between -5 and 10");
	bad("count: x", "1:8: count: must be a whole number");
	bad("memory: 1MiB", "1:9: memory: must be at least 16MiB");
	bad("memory: 1MiBB", "1:9: memory: must be a size, as 64KiB, 256MiB, 1GB, 512");
	bad("timeout: 2h", "1:10: timeout: must be between 1ms and 1h");
	bad("timeout: 30",
		"1:10: timeout: must be a duration with its unit, as 500ms, 30s, 5m, 30d");
	bad("strict: maybe", "1:9: strict: must be true or false");
	bad("durability: snyc",
		"1:13: durability: must be one of sync, os, interval (did you mean \"sync\"?)");
	bad("name:", "1:6: name: has no value");
	bad("name: [a]", "1:7: name: must be one value, not a list");
	bad("words: {a: b}", "1:8: words: must be a list of at most 10000");
	bad("words: [[a]]", "1:9: words: must be a list of plain values");
	bad("labels: [a]", "1:9: labels: must be a map: {name: text}");
	bad("labels: {a: [b]}", "1:13: labels: a: must be a text");
	bad("http: 5", "1:7: http: must be a map of settings");
	bad("5", "1:1: must be a map of settings");
	bad("inputs: {syslog: {}}", "1:9: inputs: must be a list: - input: {settings}");
	bad("inputs: [syslog]", "1:10: inputs: must be one input with its settings: - syslog: {}");
	bad("inputs: [[syslog]]",
		"1:10: inputs: must be one input with its settings: - kind: {settings}");
	bad("inputs:\n- sylog: {}",
		"2:3: inputs: there is no input \"sylog\" (did you mean \"syslog\"?)");
	bad("inputs:\n- zeromq: {}",
		"2:3: inputs: there is no input \"zeromq\"; there are: syslog, stdin");
	bad("inputs:\n- syslog: {max_line: 2KiB}", "2:3: inputs.syslog.listen: is required");
	bad("inputs:\n- syslog: {listen: '1', max_line: 2MiB}",
		"2:35: inputs.syslog.max_line: must be between 1KiB and 1MiB");
	bad("inputs:\n- syslog: {listen: '1', labels: {a: b}}",
		"2:3: inputs.syslog: labels need a file");
	bad("inputs:\n- stdin: {a: 1}",
		"2:11: inputs.stdin.a: unknown setting: there are none here");
	bad("http: {listen: '127.0.0.1'}",
		"1:16: http.listen: \"127.0.0.1\" is not an address: write 127.0.0.1:3100, with a port "
		"up to 65535");
	bad("http: {listen: '::1:80'}",
		"1:16: http.listen: an IPv6 address needs brackets: [::1]:3100");
	bad("http: {listen: 'udp:127.0.0.1:514'}",
		"1:16: http.listen: \"udp:127.0.0.1:514\" is not an address: write "
		"udp://127.0.0.1:514");
	bad("http: {listen: 'tcp:/h:514'}",
		"1:16: http.listen: \"tcp:/h:514\" is not an address: write tcp://h:514");
	bad("http: {listen: 'unix:/run/x'}",
		"1:16: http.listen: \"unix:/run/x\" is not an address: write unix:///run/x");
}

static void test_yaml_problems(void **state)
{
	struct buf deep = {0};

	(void)state;
	assert_int_equal(load("a: [b\n", NULL, false), ERR_ARG);
	assert_non_null(strstr(buf_cstr(&errors.text), "/etc/sawlog.yaml:2:1: "));
	assert_non_null(strstr(buf_cstr(&errors.text), "not YAML: "));
	bad("name: *x", "1:7: aliases (*name) are not supported");
	bad("name: a\n---\nname: b", "2:1: a second document: a config is one");
	bad("? [a]\n: b", "1:3: a key must be a word");
	for (int i = 0; i < 40; i++)
		buf_char(&deep, '[');
	bad(buf_cstr(&deep), "1:33: nested deeper than 32");
	buf_fini(&deep);
	bad("name: \"a\\0b\"", "1:7: a value cannot hold a zero byte");
}

static void test_all_problems(void **state)
{
	(void)state;
	assert_int_equal(load("count: 99\nnmae: x\nhttp: {n_threads: 0}\n", NULL, false), ERR_ARG);
	assert_int_equal(errors.n, 3);
	assert_string_equal(buf_cstr(&errors.text),
		"/etc/sawlog.yaml:2:1: nmae: unknown setting (did you mean \"name\"?)\n"
		"/etc/sawlog.yaml:1:8: count: must be between -5 and 10\n"
		"/etc/sawlog.yaml:3:19: http.n_threads: must be between 1 and 64\n");
}

static void test_variables(void **state)
{
	(void)state;
	setenv("CONF_TEST_NAME", "from env: [x]", 1);
	unsetenv("CONF_TEST_NONE");
	good("name: ${CONF_TEST_NAME}\nwords: ['a${CONF_TEST_NONE:-b}c', \"$$HOME\", 'x$', '$${y}']\n"
	     "password: ${CONF_TEST_NONE:-}\n");
	assert_string_equal(settings.name, "from env: [x]");
	assert_string_equal(settings.words.items[0], "abc");
	assert_string_equal(settings.words.items[1], "$HOME");
	assert_string_equal(settings.words.items[2], "x$");
	assert_string_equal(settings.words.items[3], "${y}");
	assert_string_equal(settings.password, "");
	bad("name: ${CONF_TEST_NONE}",
		"1:7: ${CONF_TEST_NONE}: the environment has no such variable; "
		"${CONF_TEST_NONE:-text} gives it a default");
	bad("name: ${a b}", "1:7: ${a b}: no name of a variable; write $${ for a literal ${");
	bad("name: ${a", "1:7: ${ has no closing brace; write $${ for a literal ${");
}

static void test_sources(void **state)
{
	static const char *const flags[] = {"count=1", "http-listen=:90, :91", "count=2",
		"http.n_threads=9", "labels=a=b,c=d=e", "paths=rel/x,-", NULL};
	static const char *const unknown[] = {"cuont=1", "name", NULL};
	static const char *const wrong[] = {"count=99", "inputs=syslog", "http=x", NULL};
	char here[4096], path[5000];

	(void)state;
	setenv("SAWLOG_COUNT", "7", 1);
	setenv("SAWLOG_HTTP_N_THREADS", "5", 1);
	setenv("SAWLOG_WORDS", "", 1);
	assert_int_equal(load("count: 3\nhttp: {listen: ':80'}", flags, true), 0);
	assert_int_equal(settings.count, 2);
	assert_int_equal(settings.http.listen.n, 2);
	assert_string_equal(settings.http.listen.items[1], "0.0.0.0:91");
	assert_int_equal(settings.http.n_threads, 9);
	assert_int_equal(settings.words.n, 0);
	assert_string_equal(settings.labels.items[1].value, "d=e");
	snprintf(path, sizeof path, "%s/rel/x", getcwd(here, sizeof here));
	assert_string_equal(settings.paths.items[0], path);
	assert_string_equal(settings.paths.items[1], "-");
	assert_int_equal(load("count: 3", NULL, true), 0);
	assert_int_equal(settings.count, 7);
	assert_int_equal(load("count: 3", NULL, false), 0);
	assert_int_equal(settings.count, 3);
	assert_int_equal(load("", unknown, false), ERR_ARG);
	assert_string_equal(buf_cstr(&errors.text),
		"--cuont: unknown setting (did you mean \"count\"?)\n"
		"--name: needs a value: key=value (did you mean \"name\"?)\n");
	assert_int_equal(load("", wrong, false), ERR_ARG);
	assert_string_equal(buf_cstr(&errors.text),
		"--count: must be between -5 and 10\n"
		"--http: http holds settings and is none itself\n"
		"--inputs: can only be set in the config file\n");
	setenv("SAWLOG_COUNT", "x", 1);
	assert_int_equal(load("count: 3", NULL, true), ERR_ARG);
	assert_string_equal(buf_cstr(&errors.text), "SAWLOG_COUNT: must be a whole number\n");
	/* A mistake in the file is told even when it is overridden. */
	assert_int_equal(load("count: x", flags, false), ERR_ARG);
	unsetenv("SAWLOG_COUNT");
	unsetenv("SAWLOG_HTTP_N_THREADS");
	unsetenv("SAWLOG_WORDS");
}

static void test_groups(void **state)
{
	static const char *const flags[] = {"groups=a=1, b=x=y,a = 2", NULL};
	static const char *const wrong[] = {"groups=a=1,b,=c", NULL};
	struct buf once = {0}, twice = {0}, many = {0};

	(void)state;
	good("groups: {web: 5556, 'a b': [1, 'h:2', '${CONF_TEST_NONE:-x}']}\n");
	assert_int_equal(settings.groups.n, 2);
	assert_string_equal(settings.groups.items[0].name, "web");
	assert_int_equal(settings.groups.items[0].values.n, 1);
	assert_string_equal(settings.groups.items[0].values.items[0], "5556");
	assert_string_equal(settings.groups.items[1].name, "a b");
	assert_int_equal(settings.groups.items[1].values.n, 3);
	assert_string_equal(settings.groups.items[1].values.items[2], "x");
	conf_effective(&settings, sample_table, &once);
	assert_non_null(strstr(buf_cstr(&once), "\ngroups: {web: [5556], \"a b\": [1, h:2, x]}\n"));
	good(buf_cstr(&once));
	conf_effective(&settings, sample_table, &twice);
	assert_string_equal(buf_cstr(&once), buf_cstr(&twice));
	good("groups:\n");
	assert_int_equal(settings.groups.n, 0);
	assert_int_equal(load("groups: {z: 1}", flags, false), 0);
	assert_int_equal(settings.groups.n, 2);
	assert_int_equal(settings.groups.items[0].values.n, 2);
	assert_string_equal(settings.groups.items[0].values.items[1], "2");
	assert_string_equal(settings.groups.items[1].values.items[0], "x=y");
	assert_int_equal(load("", wrong, false), ERR_ARG);
	assert_string_equal(buf_cstr(&errors.text),
		"--groups: must be NAME=TEXT,...\n--groups: must be NAME=TEXT,...\n");
	bad("groups: [a]",
		"1:9: groups: must be a map of at most 10000: {name: text} or {name: [texts]}");
	bad("groups: a", "1:9: groups: must be a map: {name: text} or {name: [texts]}");
	good("groups: a=1,b=2,a=3\n");
	assert_int_equal(settings.groups.n, 2);
	assert_string_equal(settings.groups.items[0].values.items[1], "3");
	bad("groups: {a: {b: c}}", "1:13: groups: a: must be a text or a list of at most 10000");
	bad("groups: {a: []}", "1:13: groups: a: must be a text or a list of at most 10000");
	bad("groups: {a: [[x]]}", "1:14: groups.a: must be a list of plain values");
	for (int i = 0; i < 300; i++)
		buf_printf(&many, "%sn%d=x", i ? "," : "groups=", i);
	assert_int_equal(load("", (const char *const[]){buf_cstr(&many), NULL}, false), ERR_ARG);
	buf_fini(&once), buf_fini(&twice), buf_fini(&many);
}

static void test_clash(void **state)
{
	static const char *const flags[] = {"http.listen=:5514", NULL};

	(void)state;
	bad("inputs:\n- syslog: {listen: [udp://127.0.0.1:5514, tcp://127.0.0.1:3100]}\n"
	    "http: {listen: [127.0.0.1:3100]}\n",
		"3:17: http.listen: 127.0.0.1:3100 is already taken by inputs.syslog.listen on line 2");
	bad("http:\n  listen: 127.0.0.1:3100\ninputs:\n- syslog: {listen: [tcp://0.0.0.0:3100]}\n",
		"4:21: inputs.syslog.listen: tcp://0.0.0.0:3100 is already taken by http.listen on "
		"line 2");
	bad("inputs:\n- syslog: {listen: 'tcp://localhost:3100'}\n",
		"2:20: inputs.syslog.listen: tcp://localhost:3100 is already taken by http.listen by "
		"default");
	assert_int_equal(
		load("inputs: [{syslog: {listen: 'tcp://[::1]:5514'}}]", flags, false), ERR_ARG);
	assert_string_equal(buf_cstr(&errors.text),
		"/etc/sawlog.yaml:1:28: inputs.syslog.listen: tcp://[::1]:5514 is already taken by "
		"http.listen from --http-listen\n");
}

static void test_listen(void **state)
{
	(void)state;
	assert_true(listen_clash("127.0.0.1:1", "tcp://127.0.0.1:1"));
	assert_true(listen_clash("0.0.0.0:1", "tls://10.0.0.1:1"));
	assert_true(listen_clash("[::]:1", "10.0.0.1:1"));
	assert_true(listen_clash("localhost:1", "[::1]:1"));
	assert_true(listen_clash("udp://[::]:1", "udp://0.0.0.0:1"));
	assert_true(listen_clash("unix:///run/a", "unix:///run/a"));
	assert_true(listen_clash("unix:///run/a", "unix-dgram:///run/a"));
	assert_true(listen_clash("tcp://[::1]:1", "tls://[::1]:1"));
	assert_false(listen_clash("unix:///run/a", "unix:///run/b"));
	assert_false(listen_clash("unix-dgram:///dev/log", "udp://0.0.0.0:514"));
	assert_false(listen_clash("udp://127.0.0.1:1", "tcp://127.0.0.1:1"));
	assert_false(listen_clash("127.0.0.1:1", "127.0.0.2:1"));
	assert_false(listen_clash("127.0.0.1:1", "127.0.0.1:2"));
	assert_false(listen_clash("127.0.0.1:0", "127.0.0.1:0"));
	good("http: {listen: ['3100', 'unix:///run/X', 'http://Host.Example:80/', '[0:0::1]:8', '*:9', "
	     "':0', ':0']}");
	assert_string_equal(settings.http.listen.items[0], "127.0.0.1:3100");
	assert_string_equal(settings.http.listen.items[1], "unix:///run/X");
	assert_string_equal(settings.http.listen.items[2], "http://host.example:80");
	assert_string_equal(settings.http.listen.items[3], "[::1]:8");
	assert_string_equal(settings.http.listen.items[4], "0.0.0.0:9");
	good("http: {listen: ['ipc:///run/X', 'tcp://*:5556']}");
	assert_string_equal(settings.http.listen.items[0], "ipc:///run/X");
	assert_string_equal(settings.http.listen.items[1], "tcp://0.0.0.0:5556");
	assert_true(listen_clash("ipc:///run/a", "unix:///run/a"));
	good("http: {listen: ['HTTP://:9022/Log/in/', 'STDIN:', 'https://[::1]:80/']}");
	assert_string_equal(settings.http.listen.items[0], "http://0.0.0.0:9022/Log/in");
	assert_string_equal(settings.http.listen.items[1], "stdin:");
	assert_string_equal(settings.http.listen.items[2], "https://[::1]:80");
	assert_true(listen_clash("http://127.0.0.1:1/a", "tcp://127.0.0.1:1"));
	assert_true(listen_clash("stdin:", "stdin:"));
	assert_false(listen_clash("stdin:", "tcp://127.0.0.1:1"));
	good("http: {listen: ['TLS://Host:6514', 'unix-dgram:///dev/Log', 'udp://[::]:514', "
	     "'udp://:515']}");
	assert_string_equal(settings.http.listen.items[0], "tls://host:6514");
	assert_string_equal(settings.http.listen.items[1], "unix-dgram:///dev/Log");
	assert_string_equal(settings.http.listen.items[2], "udp://[::]:514");
	assert_string_equal(settings.http.listen.items[3], "udp://0.0.0.0:515");
	assert_int_equal(load("http: {listen: ['h:99999', 'a b:1', '[x]:1', 'unix://rel', ':', '', "
			      "'tcp://h:1/x', 'http://h/x']}",
				 NULL, false),
		ERR_ARG);
	assert_int_equal(errors.n, 8);
}

static void test_file(void **state)
{
	char dir[] = "/tmp/conf_test.XXXXXX", path[100], want[100];
	struct conf_source src = {.file = path};
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/x.yaml", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("data: store\n", f);
	fclose(f);
	settings = (struct sample){0};
	errors.n = 0;
	assert_int_equal(conf_load(&settings, sample_table, &src, &arena, &errors), 0);
	snprintf(want, sizeof want, "%s/store", dir);
	assert_string_equal(settings.data, want);
	unlink(path);
	assert_int_equal(conf_load(&settings, sample_table, &src, &arena, &errors), ERR_NOT_FOUND);
	assert_int_equal(errors.n, 1);
	rmdir(dir);
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} rows[] = {{"512", 512}, {"0", 0}, {"64KiB", 65536}, {"1 MiB", 1 << 20},
		{"1GB", 1000000000}, {"1.5kb", 1500}, {"2k", 2048}, {"10B", 10},
		{"0.5GiB", 1 << 29}, {"18446744073709551615", UINT64_MAX}};
	static const char *const wrong[] = {"", "x", "-1", "1.5", "1.KiB", ".5KiB", "1XiB", "1KiB2",
		"18446744073709551616", "99999999999PiB", " 1", "1e3"};
	static const struct {
		uint64_t bytes;
		const char *text;
	} shown[] = {{0, "0"}, {100, "100B"}, {65536, "64KiB"}, {3 << 19, "1.5MiB"},
		{(1 << 20) - 1, "1023.9KiB"}, {UINT64_MAX, "16383.9PiB"}};
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_true(size_parse(str_c(rows[i].text), &v));
		assert_true(v == rows[i].bytes);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		if (size_parse(str_c(wrong[i]), &v))
			fail_msg("%s", wrong[i]);
	for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
		struct buf b = {0};
		size_format(&b, shown[i].bytes);
		assert_string_equal(buf_cstr(&b), shown[i].text);
		buf_fini(&b);
	}
}

static void test_effective(void **state)
{
	struct buf once = {0}, twice = {0};

	(void)state;
	good("name: 'a: \"${CONF_TEST_NONE:-x}\" $$$${'\npassword: hunter2\nmemory: 1048577000\n"
	     "words: ['~', 'null', '', '- x', 'a,b', 'é', '#c']\nlabels: {'k y': 'v: w'}\n"
	     "wait: -90m\ninputs:\n- syslog: {listen: 'udp://:514', file: f}\n- stdin: {}\n");
	conf_effective(&settings, sample_table, &once);
	assert_null(strstr(buf_cstr(&once), "hunter2"));
	assert_non_null(strstr(buf_cstr(&once), "password: \"***\"\n"));
	assert_non_null(strstr(buf_cstr(&once), "wait: -1h30m\n"));
	assert_non_null(strstr(buf_cstr(&once), "\n  listen: [127.0.0.1:3100]\n"));
	assert_non_null(
		strstr(buf_cstr(&once), "\n  - syslog:\n      listen: [udp://0.0.0.0:514]\n"));
	good(buf_cstr(&once));
	assert_string_equal(settings.name, "a: \"x\" $${");
	assert_string_equal(settings.words.items[0], "~");
	assert_int_equal(settings.words.n, 7);
	assert_true(settings.memory == 1048577000);
	conf_effective(&settings, sample_table, &twice);
	assert_string_equal(buf_cstr(&once), buf_cstr(&twice));
	buf_fini(&once), buf_fini(&twice);
}

static void test_help(void **state)
{
	static const struct option in[] = {
		{.name = "inputs", .kind = OPT_KINDS, .kinds = &sample_kinds, .help = "Inputs."},
		{.name = "match", .kind = OPT_STRING, .fallback = "{a=\"b\"}", .help = "Words."},
		{.name = "time",
			.kind = OPT_DURATION,
			.min = 1000000000,
			.max = INT64_MAX,
			.help = "Time."},
		OPTION_END,
	};
	static const struct option nested_table[] = {
		{.name = "in", .kind = OPT_OBJECT, .fields = in, .help = "In."},
		OPTION_END
	};
	struct buf out = {0};

	(void)state;
	conf_help(sample_table, &out);
	assert_non_null(
		strstr(buf_cstr(&out), "  --http-n-threads NUMBER\n        Threads. From 1 to 64. "
				       "Default: 4.\n"));
	assert_non_null(strstr(buf_cstr(&out), "One of sync, os, interval. Default: os."));
	assert_non_null(strstr(buf_cstr(&out), "From 1ms to 1h. Default: 30s."));
	assert_non_null(strstr(buf_cstr(&out), "inputs, input syslog (in the config file):\n"));
	assert_non_null(strstr(buf_cstr(&out), "  tls.cert: PATH\n"));
	assert_non_null(strstr(buf_cstr(&out), "  --groups NAME=TEXT,...\n        Groups.\n"));
	assert_null(strstr(buf_cstr(&out), "--inputs"));
	buf_clear(&out);
	conf_help(nested_table, &out);
	assert_non_null(
		strstr(buf_cstr(&out), "\nin.inputs, input syslog (in the config file):\n"));
	assert_non_null(strstr(buf_cstr(&out), "Words. Default: '{a=\"b\"}'."));
	assert_non_null(strstr(buf_cstr(&out), "Time. At least 1s."));
	buf_clear(&out);
	conf_help_flags(sample_table, &out);
	assert_non_null(strstr(buf_cstr(&out), "  --http-n-threads NUMBER\n"));
	assert_null(strstr(buf_cstr(&out), "in the config file"));
	buf_clear(&out);
	conf_manual(sample_table, &out);
	assert_non_null(strstr(buf_cstr(&out), ".TP\n\\fBhttp.n_threads\\fR \\fINUMBER\\fR\n"));
	assert_non_null(strstr(buf_cstr(&out), "'Quoted' and back\\eslash."));
	assert_non_null(strstr(buf_cstr(&out), ".SS inputs: syslog\n"));
	buf_clear(&out);
	roff_put(&out, STR(".a\n'b -c\\ d … ."));
	assert_string_equal(buf_cstr(&out), "\\&.a\n\\&'b \\-c\\e d \\&... .");
	buf_fini(&out);
}

static void test_modes(void **state)
{
	static const char *const bad[] = {"", "9", "0888", "0640 ", "-1", "x", "00640640", "10000"};
	unsigned mode = 1;

	(void)state;
	assert_true(mode_parse(STR("0640"), 0777, &mode));
	assert_int_equal(mode, 0640);
	assert_true(mode_parse(STR("2750"), 07777, &mode));
	assert_false(mode_parse(STR("2750"), 0777, &mode));
	assert_int_equal(mode, 02750);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(mode_check(str_c(bad[i]), NULL), ERR_ARG);
	assert_int_equal(mode_check(STR("07777"), NULL), 0);
}

static void test_first_setting(void **state)
{
	const struct sample_syslog *s;

	(void)state;
	good("inputs:\n  - syslog: udp://127.0.0.1:1514\n  - syslog: ['tcp://:9', 'udp://:9']\n");
	s = settings.inputs.items[0].settings;
	assert_int_equal(s->listen.n, 1);
	assert_string_equal(s->listen.items[0], "udp://127.0.0.1:1514");
	assert_int_equal(s->max_line, 64 << 10);
	s = settings.inputs.items[1].settings;
	assert_int_equal(s->listen.n, 2);
	bad("inputs:\n  - syslog: {}\n", "2:5: inputs.syslog.listen: is required");
	bad("inputs:\n  - syslog:\n", "2:5: inputs.syslog.listen: is required");
	bad("inputs:\n  - stdin: x\n", "2:12: inputs.stdin: must be a map of settings");
}

/* Everything that a table can describe, copied: alike, and nothing of it shared. */
static void test_copies(void **state)
{
	static const char yaml[] =
		"name: a\npassword: secret\npaths: [x, y]\nlabels: {a: b}\ngroups: {g: [1, 2]}\n"
		"http: {n_threads: 8}\ninputs:\n"
		"  - syslog: {listen: ':514', file: f, labels: {c: d}, tls: {cert: c.pem}}\n"
		"  - stdin:\n";
	struct arena own;
	struct sample *copy, *other;
	const struct sample_syslog *s;

	(void)state;
	arena_init(&own, NULL);
	good(yaml);
	copy = conf_copy(&settings, sizeof settings, sample_table, &own);
	assert_true(conf_same(copy, &settings, sample_table));
	arena_clear(&arena);
	settings = (struct sample){0};
	s = copy->inputs.items[0].settings;
	assert_string_equal(copy->password, "secret");
	assert_string_equal(copy->groups.items[0].values.items[1], "2");
	assert_string_equal(s->labels.items[0].value, "d");
	assert_string_equal(s->tls.cert, "/etc/c.pem");
	good(yaml);
	assert_true(conf_same(copy, &settings, sample_table));
	other = conf_copy(&settings, sizeof settings, sample_table, &own);
	other->password = "other";
	assert_false(conf_same(copy, other, sample_table));
	other->password = NULL;
	assert_false(conf_same(copy, other, sample_table));
	good("name: a");
	assert_false(conf_same(copy, &settings, sample_table));
	arena_fini(&own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_setting),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_fallbacks),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_problems),
		cmocka_unit_test(test_yaml_problems),
		cmocka_unit_test(test_all_problems),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_clash),
		cmocka_unit_test(test_listen),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_effective),
		cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
