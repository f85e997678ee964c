/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "conf/yaml.h"
#include "nowcast/nowcast.h"

struct fixture {
	struct arena arena;
	struct conf_errors errors;
	struct nowcast n;
	int r;
};

static const char *env(void *arg, const char *name)
{
	static const char *const pairs[] = {
		"LOGS", "/var/log/nowcast", "EMPTY", "", "MONEY", "/a$b"};

	for (size_t i = 0; i < 6; i += 2)
		if (strcmp(name, pairs[i]) == 0)
			return pairs[i + 1];
	return NULL;
}

static void translate_with(
	struct fixture *f, const char *text, const char *const *without, const char *multiline)
{
	struct nowcast_options o = {.cwd = "/run",
		.secrets_dir = "/secrets",
		.multiline = multiline,
		.file_mode = 0644,
		.without = without,
		.env = env};

	*f = (struct fixture){0};
	arena_init(&f->arena, NULL);
	f->r = nowcast_translate(&f->n, str_c(text), "n.yaml", &o, &f->arena, &f->errors);
	assert_int_equal(f->r<0, f->errors.n> 0);
}

static void translate(struct fixture *f, const char *text)
{
	translate_with(f, text, NULL, "raw");
}

static void fini(struct fixture *f)
{
	buf_fini(&f->errors.text);
	arena_fini(&f->arena);
}

static void expect(const char *text, const char *yaml)
{
	struct fixture f;

	translate(&f, text);
	if (f.r < 0)
		fail_msg("%s", buf_cstr(&f.errors.text));
	assert_string_equal(f.n.yaml.p, yaml);
	fini(&f);
}

/* The first problem is this one. */
static void refuse(const char *text, const char *sentence)
{
	struct fixture f;

	translate(&f, text);
	assert_true(f.r < 0);
	if (strncmp(buf_cstr(&f.errors.text), sentence, strlen(sentence)) != 0)
		assert_string_equal(buf_cstr(&f.errors.text), sentence);
	fini(&f);
}

#define TOP   "checklist file: c.yaml\npython: python3\n"
#define PORTS "zmq: {host: salish, ports: {manager: 1, logging: {a: 5562}}}\n"
/* One handler `h` at root. */
#define HANDLER(body)                                                                              \
	TOP PORTS "logging: {version: 1, root: {handlers: [h], level: DEBUG}, formatters: {f: "    \
		  "{format: text}}, handlers: {h: {" body "}}}\n"
#define JOIN  "      join_topic: true\n"
#define INPUT "inputs:\n  - zeromq:\n      connect:\n        \"a\": [\"tcp://salish:5562\"]\n" JOIN
#define OUTPUT(kind, severity)                                                                     \
	"outputs:\n  - " kind ":\n      name: \"h\"\n"                                             \
	"      match: \"{input=~\\\"zeromq|nowcast\\\"}\"\n      min_severity: " severity "\n"
#define RAW "      multiline: raw\n"

/* The shape that SalishSeaNowcast deploys. */
static void test_real(void **state)
{
	expect("# System configuration\n"
	       "checklist file: $(NOWCAST.ENV.LOGS)/nowcast_checklist.yaml\n"
	       "python: $(NOWCAST.ENV.LOGS)/bin/python\n"
	       "run:\n  enabled hosts:\n    west:\n      mpi hosts file: ${HOME}/mpi_hosts\n"
	       "logging:\n"
	       "  aggregator:\n"
	       "    version: 1\n"
	       "    disable_existing_loggers: False\n"
	       "    formatters:\n"
	       "      simple:\n"
	       "        format: '%(asctime)s %(levelname)s [%(logger_name)s] %(message)s'\n"
	       "    handlers:\n"
	       "      info_text:\n"
	       "        class: logging.handlers.RotatingFileHandler\n"
	       "        level: INFO\n"
	       "        formatter: simple\n"
	       "        filename: $(NOWCAST.ENV.LOGS)/nowcast.log\n"
	       "        backupCount: 7\n"
	       "      debug_text:\n"
	       "        class: logging.handlers.RotatingFileHandler\n"
	       "        level: DEBUG\n"
	       "        formatter: simple\n"
	       "        filename: $(NOWCAST.ENV.LOGS)/nowcast.debug.log\n"
	       "        backupCount: 7\n"
	       "      email:\n"
	       "        class: logging.handlers.SMTPHandler\n"
	       "        level: CRITICAL\n"
	       "        formatter: simple\n"
	       "        subject: 'CRITICAL Message from Salish Sea Nowcast System'\n"
	       "        mailhost: localhost\n"
	       "        fromaddr: nowcast@example.org\n"
	       "        toaddrs:\n"
	       "          - one@example.org\n"
	       "          - two@example.org\n"
	       "    root:\n"
	       "      level: DEBUG\n"
	       "      handlers:\n"
	       "       - info_text\n"
	       "       - debug_text\n"
	       "       - email\n"
	       "  publisher:\n"
	       "    version: 1\n"
	       "    handlers:\n"
	       "      zmq_pub: {class: zmq.log.handlers.PUBHandler, level: DEBUG}\n"
	       "zmq:\n"
	       "  host: salish.example.org\n"
	       "  ports:\n"
	       "    manager: 5554\n"
	       "    workers: 5555\n"
	       "    logging:\n"
	       "      message_broker: 5560\n"
	       "      manager: 5561\n"
	       "      workers: [5562, 5563,\n        5590]\n"
	       "      run_NEMO: ['west.example.org:5556', '192.0.2.112:5556']\n"
	       "      make_ww3: '192.0.2.112:5570'\n"
	       "      run_fvcom: ['192.0.2.112:5584', '192.0.2.112:5585']\n",
		"inputs:\n"
		"  - zeromq:\n"
		"      connect:\n"
		"        \"message_broker\": [\"tcp://salish.example.org:5560\"]\n"
		"        \"manager\": [\"tcp://salish.example.org:5561\"]\n"
		"        \"workers\": [\"tcp://salish.example.org:5562\", "
		"\"tcp://salish.example.org:5563\", \"tcp://salish.example.org:5590\"]\n"
		"        \"run_NEMO\": [\"tcp://west.example.org:5556\", \"tcp://192.0.2.112:5556\"]\n"
		"        \"make_ww3\": [\"tcp://192.0.2.112:5570\"]\n"
		"        \"run_fvcom\": [\"tcp://192.0.2.112:5584\", \"tcp://192.0.2.112:5585\"]\n" JOIN
		"outputs:\n"
		"  - file:\n"
		"      name: \"info_text\"\n"
		"      match: \"{input=~\\\"zeromq|nowcast\\\"}\"\n"
		"      min_severity: info\n"
		"      format: \"%(asctime)s %(levelname)s [%(logger_name)s] %(message)s\"\n"
		"      multiline: raw\n"
		"      path: \"/var/log/nowcast/nowcast.log\"\n      mode: \"0644\"\n"
		"      watch: true\n"
		"  - file:\n"
		"      name: \"debug_text\"\n"
		"      match: \"{input=~\\\"zeromq|nowcast\\\"}\"\n"
		"      min_severity: debug\n"
		"      format: \"%(asctime)s %(levelname)s [%(logger_name)s] %(message)s\"\n"
		"      multiline: raw\n"
		"      path: \"/var/log/nowcast/nowcast.debug.log\"\n      mode: \"0644\"\n"
		"      watch: true\n"
		"  - email:\n"
		"      name: \"email\"\n"
		"      match: \"{input=~\\\"zeromq|nowcast\\\"}\"\n"
		"      min_severity: fatal\n"
		"      format: \"%(asctime)s %(levelname)s [%(logger_name)s] %(message)s\"\n"
		"      multiline: raw\n"
		"      smtp: \"smtp://localhost:25\"\n"
		"      from: \"nowcast@example.org\"\n"
		"      to: [\"one@example.org\", \"two@example.org\"]\n"
		"      subject: \"CRITICAL Message from Salish Sea Nowcast System\"\n"
		"      allow_private: true\n"
		"      digest: 0s\n");
}

static void test_publishers(void **state)
{
	static const struct nowcast_publisher expected[] = {
		{"a", "salish", 1}, {"b", "west", 2}, {"b", "east", 2}, {"c", "[::1]", 3}};
	struct fixture f;

	translate(&f, TOP "logging: {version: 1}\n"
			  "zmq: {server: salish, ports: {logging: {a: 1, b: ['west:2', 'east:2'], "
			  "c: '[::1]:3'}}}\n");
	assert_int_equal(f.r, 0);
	assert_int_equal(f.n.n_publishers, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(f.n.publishers[i].name, expected[i].name);
		assert_string_equal(f.n.publishers[i].host, expected[i].host);
		assert_int_equal(f.n.publishers[i].port, expected[i].port);
	}
	fini(&f);
}

/* A5: a port for each process, and what is wrong about it is told before anything starts. */
static void test_clashes(void **state)
{
	struct fixture f;

#define ZMQ(ports) TOP "logging: {version: 1}\nzmq:\n  host: localhost\n  ports:\n" ports
	refuse(ZMQ("    manager: 5554\n    logging:\n      a: 5554\n"),
		"n.yaml:9:10: zmq.ports.logging.a: port 5554 of localhost is already taken by "
		"zmq.ports.manager on line 7, column 14: each process that publishes needs a port "
		"of its own\n");
	refuse(ZMQ("    logging:\n      a: [5562, 5563]\n      b: '127.0.0.1:5563'\n"),
		"n.yaml:9:10: zmq.ports.logging.b: port 5563 of 127.0.0.1 is already taken by "
		"zmq.ports.logging.a on line 8, column 17:");
	refuse(ZMQ("    logging:\n      a: [5562, 5562]\n"),
		"n.yaml:8:17: zmq.ports.logging.a: port 5562 of localhost is already taken by "
		"zmq.ports.logging.a on line 8, column 11:");
	refuse(ZMQ("    logging:\n      a: ['west:1', 'east:2']\n"),
		"n.yaml:8:11: zmq.ports.logging.a: port 1 is listed for west, but not for each of its "
		"2 hosts: the hosts of one worker must share the port,");
	/* Another host is another port. */
	translate(&f, ZMQ("    logging: {a: 1, b: 'west:1', c: ['east:1', 'east:2', "
			  "'north:2', 'north:1']}\n"));
	assert_int_equal(f.r, 0);
	fini(&f);
}

static void test_ports(void **state)
{
	refuse(TOP "logging: {version: 1}\n", "n.yaml:1:1: zmq.ports: missing: the ports of");
	refuse(TOP "logging: {version: 1}\nzmq: {host: a, ports: {manager: 1}}\n",
		"n.yaml:4:6: zmq.ports.logging: missing: nobody to subscribe to\n");
	refuse(TOP "logging: {version: 1}\nzmq: {ports: {logging: {a: 1, b: 2}}}\n",
		"n.yaml:4:6: zmq.host: missing: ports without a host are those of zmq.host\n");
	refuse(ZMQ("    logging: {a: 70000}\n"),
		"n.yaml:7:18: zmq.ports.logging.a: must be a port from 1 to 65535, or 'host:port'\n");
	refuse(ZMQ("    logging: {a: 'x y:1'}\n"),
		"n.yaml:7:18: zmq.ports.logging.a: must be a port");
	refuse(ZMQ("    logging: {a: {b: 1}}\n"),
		"n.yaml:7:18: zmq.ports.logging.a: must be a port");
	refuse(ZMQ("    logging: [1]\n"),
		"n.yaml:7:14: zmq.ports.logging: must be publishers with their ports\n");
}

static void test_top(void **state)
{
	refuse("", "n.yaml: the file is empty\n");
	refuse("- a\n", "n.yaml:1:1: must be names with their values\n");
	refuse("a: [\n", "n.yaml:2:1: not YAML:");
	refuse("a: 1\n",
		"n.yaml:1:1: checklist file: missing: a NEMO_Nowcast configuration has it at its top\n"
		"n.yaml:1:1: python: missing: a NEMO_Nowcast configuration has it at its top\n"
		"n.yaml:1:1: logging: missing: a NEMO_Nowcast configuration has it at its top\n");
	refuse(TOP PORTS "logging: {publisher: {version: 1}}\n",
		"n.yaml:4:10: logging.aggregator: missing: it says what is written where\n");
	refuse(TOP PORTS "logging: {aggregator: {version: 2}}\n",
		"n.yaml:4:33: logging.aggregator: version must be 1\n");
	refuse(TOP PORTS "logging: {root: {level: LOUD}, version: 1}\n",
		"n.yaml:4:25: logging.root.level: unknown level \"LOUD\": DEBUG,");
	refuse(TOP PORTS "logging: {root: {handlers: [x]}, version: 1}\n",
		"n.yaml:4:29: logging.root.handlers: there is no handler \"x\"\n");
}

static void test_variables(void **state)
{
	static const char *const cases[][2] = {
		{"$(NOWCAST.ENV.LOGS)/x.log", "/var/log/nowcast/x.log"},
		{"$(NOWCAST.ENV.LOGS)swallowed_1/x", "/var/log/nowcast/x"},
		{"$(NOWCAST.ENV.EMPTY)swallowed/relative", "/relative"},
		{"/a/$(NOWCAST.ENV.LOGS)-$(NOWCAST.ENV.EMPTY)-b", "/a//var/log/nowcast--b"},
		{"$(NOWCAST.ENV.LOGS", "/run/$$(NOWCAST.ENV.LOGS"},
		{"$(NOWCAST.ENV.MONEY)/${HOME}", "/a$$b/$${HOME}"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fixture f;
		char text[500], wanted[200];
		snprintf(text, sizeof text, HANDLER("class: logging.FileHandler, filename: '%s'"),
			cases[i][0]);
		translate(&f, text);
		if (f.r < 0)
			fail_msg("%s", buf_cstr(&f.errors.text));
		snprintf(wanted, sizeof wanted, "path: \"%s\"", cases[i][1]);
		if (!strstr(f.n.yaml.p, wanted))
			assert_string_equal(f.n.yaml.p, wanted);
		fini(&f);
	}
	refuse(HANDLER("class: logging.FileHandler, filename: $(NOWCAST.ENV.NONE)/x"),
		"n.yaml:4:146: handlers.h.filename: environment variable not set: NONE\n");
	refuse("checklist file: $(NOWCAST.ENV.NONE)/x\npython: $(NOWCAST.ENV.)\n",
		"n.yaml:1:17: checklist file: environment variable not set: NONE\n"
		"n.yaml:2:9: python: environment variable not set: \n");
	refuse(TOP PORTS "logging: {aggregator: {version: 1}, publisher: {handlers: {w: {filename: "
			 "$(NOWCAST.ENV.NONE)}}}}\n",
		"n.yaml:4:74: logging.publisher.handlers.w.filename: environment variable not set: "
		"NONE\n");
}

static void test_files(void **state)
{
	expect(HANDLER("class: logging.FileHandler, filename: a b.log, formatter: f, level: 30"),
		INPUT OUTPUT("file",
			"warn") "      format: \"text\"\n" RAW
				"      path: \"/run/a b.log\"\n      mode: \"0644\"\n      watch: false\n");
	expect(HANDLER("class: logging.handlers.WatchedFileHandler, filename: /x, encoding: UTF-8, "
		       "delay: true, mode: a"),
		INPUT OUTPUT("file", "debug") RAW
		"      path: \"/x\"\n      mode: \"0644\"\n      watch: true\n");
	expect(HANDLER("class: logging.handlers.TimedRotatingFileHandler, filename: /x, when: "
		       "midnight, backupCount: 3"),
		"# n.yaml:4:107: handlers.h: rotated by the hour or day of the clock, and called .1, "
		".2 … instead of by their time\n" INPUT OUTPUT("file", "debug") RAW
		"      path: \"/x\"\n      mode: \"0644\"\n      watch: true\n"
		"      rotate: {every: midnight, keep: 3}\n");
	refuse(HANDLER("class: logging.FileHandler"),
		"n.yaml:4:107: handlers.h: filename is missing\n");
	refuse(HANDLER("class: logging.FileHandler, filename: /x, encoding: latin-1"),
		"n.yaml:4:160: handlers.h: encoding must be utf-8, as messages come\n");
	refuse(HANDLER("class: logging.FileHandler, filename: '/x%(a)s'"),
		"n.yaml:4:146: handlers.h: filename holds %( or {{, which would be read as a template");
	refuse(HANDLER("class: logging.FileHandler, filename: /x, backupCont: 3, mode: a"),
		"n.yaml:4:150: handlers.h: logging.FileHandler has no argument backupCont\n");
	refuse(HANDLER("class: logging.handlers.RotatingFileHandler, filename: /x, backupCont: 3"),
		"n.yaml:4:167: handlers.h: logging.handlers.RotatingFileHandler has no argument "
		"backupCont (did you mean \"backupCount\"?)\n");
	refuse(HANDLER("class: logging.handlers.TimedRotatingFileHandler, filename: /x, when: S"),
		"n.yaml:4:178: handlers.h: when must be H, D, midnight or W0 to W6\n");
}

/* Two outputs cannot write to one file. */
static void test_same_file(void **state)
{
	refuse(TOP PORTS
		"logging:\n  version: 1\n  root: {handlers: [a, b]}\n  handlers:\n"
		"    a: {class: logging.FileHandler, filename: x.log}\n"
		"    b: {class: logging.handlers.WatchedFileHandler, filename: /run/x.log}\n",
		"n.yaml:9:8: handlers.b: writes to the file of another handler, on line 8: give one of "
		"them a file of its own\n");
}

static void test_streams(void **state)
{
	expect(HANDLER("class: logging.StreamHandler, stream: ext://sys.stdout"),
		INPUT OUTPUT("stdout", "debug") RAW "      stream: stdout\n");
	expect(HANDLER("class: logging.StreamHandler"),
		INPUT OUTPUT("stdout", "debug") RAW "      stream: stderr\n");
	refuse(HANDLER("class: logging.StreamHandler, stream: cfg://x"),
		"n.yaml:4:146: handlers.h: stream must be ext://sys.stdout or ext://sys.stderr\n");
}

static void test_email(void **state)
{
	struct fixture f;

	translate(&f,
		HANDLER("class: logging.handlers.SMTPHandler, mailhost: [mail.example.org, 587], "
			"fromaddr: a@b, toaddrs: c@d, subject: '100% $', credentials: [me, "
			"'pa$$'], secure: [], level: CRITICAL"));
	assert_int_equal(f.r, 0);
	assert_string_equal(f.n.yaml.p,
		INPUT OUTPUT("email", "fatal") RAW "      smtp: \"smtp://mail.example.org:587\"\n"
						   "      from: \"a@b\"\n"
						   "      to: [\"c@d\"]\n"
						   "      subject: \"100%% $$\"\n"
						   "      user: \"me\"\n"
						   "      password_file: \"/secrets/h.password\"\n"
						   "      allow_private: true\n"
						   "      digest: 0s\n");
	assert_int_equal(f.n.n_secrets, 1);
	assert_string_equal(f.n.secrets[0].path, "/secrets/h.password");
	assert_string_equal(f.n.secrets[0].text.p, "pa$$");
	fini(&f);
	refuse(HANDLER("class: logging.handlers.SMTPHandler, mailhost: h, fromaddr: a, subject: s"),
		"n.yaml:4:107: handlers.h: toaddrs is missing\n");
	refuse(HANDLER("class: logging.handlers.SMTPHandler, mailhost: 'h/x', fromaddr: a, subject: "
		       "s, toaddrs: b"),
		"n.yaml:4:155: handlers.h: mailhost must be a host, or [host, port]\n");
}

static void test_formatters(void **state)
{
	static const char *const cases[][2] = {
		{"{format: '%(asctime)s', datefmt: '%H:%M'}",
			"      format: \"%(asctime)s\"\n      datefmt: \"%H:%M\"\n"},
		{"{format: '{asctime} {{}}', style: '{', validate: false}",
			"      format: \"{asctime} {{}}\"\n      style: brace\n"},
		{"{format: '$asctime $$ ${message}_ {}', style: $}",
			"      format: \"{asctime} $$ {message}_ {{}}\"\n      style: brace\n"},
		{"{class: logging.Formatter}", ""},
	};
	char text[600], wanted[600];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(text, sizeof text,
			TOP PORTS "logging: {version: 1, root: {handlers: [h], level: DEBUG}, "
				  "formatters: {f: %s}, handlers: {h: {class: "
				  "logging.StreamHandler, formatter: f}}}\n",
			cases[i][0]);
		snprintf(wanted, sizeof wanted, "%s%s%s", INPUT OUTPUT("stdout", "debug"),
			cases[i][1], RAW "      stream: stderr\n");
		expect(text, wanted);
	}
	refuse(TOP PORTS
		"logging: {version: 1, root: {handlers: [h]}, formatters: {f: {(): my.F}}, "
		"handlers: {h: {class: logging.StreamHandler, formatter: f}}}\n",
		"n.yaml:4:67: formatters.f: my.F is a formatter of its own: sawlog runs no Python; give "
		"it a `format`\n");
	refuse(HANDLER("class: logging.StreamHandler, formatter: g"),
		"n.yaml:4:149: handlers.h.formatter: there is no formatter \"g\"\n");
}

static void test_levels(void **state)
{
	static const struct {
		const char *root, *handler, *severity;
	} cases[] = {
		{"", "", "warn"}, /* as Python's root is without one */
		{"level: NOTSET", "", "any"},
		{"level: DEBUG", "level: ERROR", "error"},
		{"level: ERROR", "level: DEBUG", "error"},
		{"level: 11", "level: 0", "info"},
		{"level: 0", "level: 50", "fatal"},
	};
	char text[400], wanted[400];
	struct fixture f;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(text, sizeof text,
			TOP PORTS "logging: {version: 1, root: {handlers: [h], %s}, handlers: {h: "
				  "{class: logging.StreamHandler, %s}}}\n",
			cases[i].root, cases[i].handler);
		snprintf(wanted, sizeof wanted, "min_severity: %s\n", cases[i].severity);
		translate(&f, text);
		assert_int_equal(f.r, 0);
		assert_non_null(strstr(f.n.yaml.p, wanted));
		fini(&f);
	}
	expect(TOP PORTS "logging: {version: 1, root: {handlers: [h]}, handlers: {h: {class: "
			 "logging.StreamHandler, level: 100}}}\n",
		INPUT "# n.yaml:4: level 100 lets no message pass\n");
}

/* The aggregator's own logger inherits from root, and has what `loggers` gives it. */
static void test_loggers(void **state)
{
#define LOGGERS(own)                                                                               \
	TOP PORTS "logging: {version: 1, root: {handlers: [a], level: ERROR}, loggers: {other: "   \
		  "{handlers: [c]}, log_aggregator: {" own "}}, handlers: {a: {class: "            \
		  "logging.StreamHandler}, b: {class: logging.NullHandler}, c: {class: "           \
		  "logging.StreamHandler, stream: ext://sys.stdout}}}\n"
	static const struct {
		const char *text;
		const char *names[3];
		const char *severity;
	} cases[] = {
		{LOGGERS("level: NOTSET"), {"\"a\"", NULL}, "error"},
		{LOGGERS("level: DEBUG, handlers: [c, b]"), {"\"c\"", "\"a\"", NULL}, "debug"},
		{LOGGERS("handlers: [c, a], propagate: no"), {"\"c\"", "\"a\"", NULL}, "error"},
		{LOGGERS("handlers: [c], propagate: no"), {"\"c\"", NULL}, "error"},
	};
	struct fixture f;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *at;
		translate(&f, cases[i].text);
		assert_int_equal(f.r, 0);
		at = f.n.yaml.p;
		for (size_t j = 0; cases[i].names[j]; j++) {
			assert_non_null(at = strstr(at, "name: "));
			at += strlen("name: ");
			assert_memory_equal(at, cases[i].names[j], strlen(cases[i].names[j]));
		}
		assert_null(strstr(at, "name: "));
		assert_non_null(strstr(at, cases[i].severity));
		fini(&f);
	}
}

static void test_python(void **state)
{
	static const char *const without[] = {"h", NULL}, *const wrong[] = {"x", NULL};
	const char *sentry = HANDLER("class: raven.handlers.logging.SentryHandler, level: ERROR");
	struct fixture f;

	refuse(sentry,
		"n.yaml:4:115: handlers.h: sawlog has no handler "
		"raven.handlers.logging.SentryHandler, and runs no Python: take it out of the "
		"aggregator's handlers, or start with --without h\n");
	refuse(HANDLER("(): my.Handler"),
		"n.yaml:4:112: handlers.h: sawlog has no handler my.Handler,");
	refuse(HANDLER("class: logging.StreamHandler, filters: [f]"),
		"n.yaml:4:147: handlers.h: filters are Python code,");
	translate_with(&f, sentry, without, "raw");
	assert_int_equal(f.r, 0);
	assert_int_equal(f.n.n_outputs, 0);
	assert_int_equal(f.n.n_notes, 1);
	fini(&f);
	translate_with(&f, sentry, wrong, "raw");
	assert_true(f.r < 0);
	fini(&f);
	translate_with(&f, HANDLER("class: logging.StreamHandler"), NULL, "indent");
	assert_non_null(strstr(f.n.yaml.p, "multiline: indent\n"));
	fini(&f);
}

/* The file is read as PyYAML reads it. */
static void test_yaml(void **state)
{
	expect("defaults: &d {class: logging.StreamHandler, level: &l ERROR}\n"
	       "base: &b {stream: ext://sys.stdout, level: DEBUG}\n" TOP TOP
	       "zmq: {host: &h salish, ports: {manager: 1, logging: {a: 5562}}}\n"
	       "logging: {version: 1, root: {handlers: [h], level: INFO}, handlers: {h: {<<: [*d, *b], "
	       "level: *l, level: CRITICAL}}, root: {level: *l, handlers: [h]}}\n",
		INPUT OUTPUT("stdout", "fatal") RAW "      stream: stdout\n");
	refuse("a: &a [*a]\n", "n.yaml:1:8: *a: there is no such anchor before it\n");
	refuse("a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	       "b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
	       "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n"
	       "d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
	       "e: [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n",
		"n.yaml:5:33: the alias stands for too much: 100000 values, nested 32 deep, are the "
		"limits\n");
	refuse("a: &a [[[[[[[[[[x]]]]]]]]]]\nb: &b [[[[[[[[[[*a]]]]]]]]]]\n"
	       "c: [[[[[[[[[[[[[[[*b]]]]]]]]]]]]]]]\n",
		"n.yaml:3:19: the alias stands for too much:");
}

/* Names are folders of the data folder. */
static void test_names(void **state)
{
	struct fixture f;

	translate(&f,
		TOP PORTS "logging: {version: 1, root: {handlers: [../x, '$y', '..-x']}, handlers: "
			  "{../x: {class: logging.StreamHandler}, '$y': {class: "
			  "logging.StreamHandler}, '..-x': {class: logging.StreamHandler}}}\n");
	assert_int_equal(f.r, 0);
	assert_non_null(strstr(f.n.yaml.p, "name: \"-.-x\""));
	assert_non_null(strstr(f.n.yaml.p, "name: \"-y\""));
	assert_non_null(strstr(f.n.yaml.p, "name: \"-.-x-3\""));
	fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_publishers),
		cmocka_unit_test(test_clashes),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_top),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_same_file),
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_email),
		cmocka_unit_test(test_formatters),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_loggers),
		cmocka_unit_test(test_python),
		cmocka_unit_test(test_yaml),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
