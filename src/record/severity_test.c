/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "record/severity.c"

static void test_words(void **state)
{
	static const struct {
		const char *word;
		uint8_t severity;
	} cases[] = {{"TRACE", 1}, {"finest", 1}, {"Debug", 5}, {"dbg", 5}, {"info", 9}, {"INF", 9},
		{"Information", 9}, {"informational", 9}, {"notice", 10}, {"WARNING", 13},
		{"warn", 13}, {"err", 17}, {"Error", 17}, {"SEVERE", 17}, {"fatal", 21},
		{"panic", 22}, {"crit", 23}, {"Critical", 23}, {"alert", 24}, {"emerg", 24},
		{"E", 17}, {"w", 13}, {"", 0}, {"errors", 0}, {"in", 0}, {"x", 0},
		{"informationally", 0}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(severity_from_word(str_c(cases[i].word)), cases[i].severity);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		assert_true(i == 0 || words[i - 1].n <= words[i].n);
		assert_int_equal(severity_from_word(str_c(words[i].word)), words[i].severity);
		assert_int_equal(words[i].n, strlen(words[i].word));
	}
}

static void test_levels(void **state)
{
	assert_string_equal(severity_level(0), "unknown");
	assert_string_equal(severity_level(1), "trace");
	assert_string_equal(severity_level(4), "trace");
	assert_string_equal(severity_level(5), "debug");
	assert_string_equal(severity_level(10), "info");
	assert_string_equal(severity_level(13), "warn");
	assert_string_equal(severity_level(20), "error");
	assert_string_equal(severity_level(22), "fatal");
	assert_string_equal(severity_level(23), "critical");
	assert_string_equal(severity_level(24), "critical");
	assert_string_equal(severity_level(25), "unknown");
	assert_string_equal(severity_level(severity_from_syslog(3)), "error");
	assert_string_equal(severity_level(severity_from_syslog(0)), "critical");
	assert_int_equal(severity_from_syslog(8), 0);
	/* Worse is never a smaller number. */
	for (unsigned i = 0; i < 7; i++)
		assert_true(severity_from_syslog(i) >= severity_from_syslog(i + 1));
}

static void assert_all(const char *const *lines, uint8_t severity)
{
	for (; *lines; lines++) {
		uint8_t got = severity_detect(str_c(*lines));
		if (got != severity)
			fail_msg("%u instead of %u: %s", got, severity, *lines);
	}
}

static void test_lines_of_info(void **state)
{
	assert_all(
		(const char *const[]){
			"081109 203615 148 INFO dfs.DataNode$PacketResponder: PacketResponder 1 for block "
			"blk_38865049064139660 terminating",
			"2015-10-18 18:01:47,978 INFO [main] org.apache.hadoop.mapreduce.v2.app.MRAppMaster: x",
			"17/06/09 20:10:40 INFO executor.CoarseGrainedExecutorBackend: Registered signal handlers",
			"- 1117838570 2005.06.03 R02-M1-N0-C:J12-U11 2005-06-03-15.42.50.363779 "
			"R02-M1-N0-C:J12-U11 RAS KERNEL INFO instruction cache parity error corrected",
			"2016-09-28 04:30:30, Info                  CBS    Loaded Servicing Stack v6.1.7601",
			"nova-api.log.1.2017-05-16_13:53:08 2017-05-16 00:00:00.008 25746 INFO "
			"nova.osapi_compute.wsgi.server [req-38101a0b] 10.11.10.1 \"GET /v2/ HTTP/1.1\"",
			"2026-08-21 10:00:00.123  INFO 12345 --- [main] o.s.b.SpringApplication : Started",
			"time=\"2026-08-21T10:00:00Z\" level=info msg=\"no errors\"",
			"ts=2026-08-21T10:00:00Z caller=main.go:42 msg=\"got ERROR from peer\" level=info",
			"{\"level\":\"info\",\"msg\":\"ERROR: this is a quote\"}",
			"{\"level\":30,\"time\":1531171074631,\"msg\":\"hello\",\"pid\":657}",
			"{\"msg\":\"x {\\\"level\\\":\\\"error\\\"}\",\"inner\":{\"level\":\"error\"},\"level\" : "
			"\"Information\"}",
			"I0821 10:00:00.123456       1 server.go:42] Starting",
			"[I 2026-08-21 10:00:00.123 ServerApp] Jupyter Server is running",
			"03-17 16:13:38.811  1702  2395 I PowerManagerService: error in wake lock",
			"info: Microsoft.Hosting.Lifetime[14]", "INFO:root:started",
			"INFO:     127.0.0.1:58400 - \"GET / HTTP/1.1\" 200 OK",
			"2026/08/21 10:00:00 [info] 29#29: *1 client closed connection",
			"2026-08-21T10:00:00Z app {\"severity\":\"INFO\",\"message\":\"x\"}",
			"[2026-08-21 10:00:00 +0000] [7] [INFO] Booting worker with pid: 7",
			"2026-08-21T10:00:00.123456Z  INFO tracing_example: hello",
			"\t 2026-08-21 10:00:00 | INFO     | app:main:3 - loguru",
			"[INFO ] 2026-08-21 10:00:00.123 [main] Main - padded",
			"I20260821 10:00:00.123456  1234 file.cc:12] ERROR in the text",
			"1234:M 21 Aug 2026 10:00:00.123 - Accepted 127.0.0.1:1", "level=30 msg=x",
			"{\"@l\":\"Information\",\"@m\":\"x\"}",
			"{\"@timestamp\":\"x\",\"log\":{\"logger\":\"a\",\"level\":\"INFO\"}}",
			"{\"t\":{\"$date\":\"2026-08-21T10:00:00.123+02:00\"},\"s\":\"I\",\"c\":\"N\"}",
			"2026-08-21 10:00:00.123 UTC [123] LOG:  database system is ready",
			"[Nest] 123  - 08/21/2026, 10:00:00 AM     LOG [NestFactory] Starting",
			"2026-08-21T10:00:00.123456Z 0 [System] [MY-010116] [Server] starting",
			NULL},
		SEV_INFO);
	assert_all(
		(const char *const[]){
			"[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init() ok /etc/httpd/conf/workers2.properties",
			"[Sun Dec 04 04:47:44.123456 2005] [core:notice] [pid 1:tid 2] AH00094: Command line",
			"LEVEL=Notice msg=x",
			"1234:M 21 Aug 2026 10:00:00.123 * Ready to accept connections",
			"2026-08-21T10:00:00.123456Z 12 [Note] [MY-1] x",
			"260821 10:00:00 [Note] x", "[21-Aug-2026 10:00:00 UTC] PHP Notice:  x",
			"[21-Aug-2026 10:00:00 UTC] PHP Deprecated:  x", NULL},
		SEV_INFO + 1);
}

static void test_lines_of_errors(void **state)
{
	assert_all(
		(const char *const[]){
			"[Sun Dec 04 04:47:44 2005] [error] mod_jk child workerEnv in error state 6",
			"2026/08/21 10:00:00 [error] 29#29: *1 open() \"/x\" failed (2: No such file or directory)",
			"main.c:12:3: error: expected ';' before '}' token",
			"gcc: error: no input files",
			"error: could not compile `x` due to 2 previous errors",
			"Error: Cannot find module 'express'",
			"Dec 10 06:55:48 LabSZ sshd[24200]: error: Received disconnect from 1.2.3.4: 3: x",
			"2026-08-21 10:00:00.123 UTC [123] ERROR:  relation \"x\" does not exist at character 15",
			"2026-08-21T10:00:00.000Z error connection refused",
			"2026-08-21 10:00:00,123 - root - ERROR - something failed",
			"ERROR 2026-08-21 10:00:00 no errors were expected", "<error> something",
			"(ERR) something", "|Error| something",
			"E0821 10:00:00.123456       1 server.go:42] Starting", "level=ERROR msg=x",
			"a=b lvl=eror severity=err", "log.level=\"error\"",
			"{\"@timestamp\":\"2026-08-21\",\"log.level\":\"ERROR\",\"message\":\"x\"}",
			"{\"level\":50,\"msg\":\"x\"}", "{\"Severity\":\"Error\"}",
			"[21-Aug-2026 10:00:00 UTC] PHP Parse error:  syntax error",
			"{\"t\":{\"$date\":\"2026\"},\"s\":\"E\"}", "level=50 msg=x",
			"E, [2026-08-21T10:00:00.123456 #123] ERROR -- : x", "[E] 10:00:00 bad",
			"[ERR!] x", "ERROR", "npm ERR! code ELIFECYCLE",
			"Aug 21, 2026 10:00:00 AM org.example.Main main\nSEVERE: broken", NULL},
		SEV_ERROR);
	assert_all(
		(const char *const[]){
			"- 1117838570 2005.06.03 R02 2005-06-03-15.42.50 R02 RAS KERNEL FATAL data storage interrupt",
			"2026-08-21 10:00:00.123 UTC [123] FATAL:  password authentication failed",
			"{\"level\":60}", "[21-Aug-2026 10:00:00 UTC] PHP Fatal error:  x",
			"PHP Fatal error:  Uncaught x", NULL},
		SEV_FATAL);
}

static void test_lines_of_other_levels(void **state)
{
	assert_all(
		(const char *const[]){
			"2015-07-29 17:41:44,747 - WARN  [SendWorker:188978561024:QuorumCnxManager$SendWorker@679]",
			"x.c:1: warning: unused variable", "W0821 10:00:00.123456 1 x.go:42] y",
			"[W 10:00:00 x] y", "10:00:00.123  1702  2395 W Tag: x", "level=\"warn\"",
			"WARNING: module x deprecated", "1234:M 21 Aug 2026 10:00:00.123 # oom",
			"[1234] 21 Aug 10:00:00.123 # oom", "260821 10:00:00 [Warning] x",
			"PHP Warning:  x in y",
			"[21-Aug-2026 10:00:00 Europe/Berlin] PHP Warning:  x", "level=40",
			"2026-08-21 10:00:00 warning low disk", NULL},
		SEV_WARN);
	assert_all(
		(const char *const[]){
			"03-17 16:13:38.811  1702  2395 D WindowManager: printFreezingDisplayLogs",
			"DEBUG x", "[debug] x", "10:00:00.000 [main] DEBUG com.x - y",
			"severity=debug", "1234:C 21 Aug 2026 10:00:00.123 . x",
			"{\"t\":{\"$date\":\"2026\"},\"s\":\"D2\"}",
			"3791 [async-dispatch-3] DEBUG s.log.aggregator.log-forwarder - POSTING:  {:size 2}",
			NULL},
		SEV_DEBUG);
	assert_all((const char *const[]){"TRACE x", "{\"lvl\":\"trace\"}",
			   "03-17 16:13:38.811  1702  2395 V Tag: x", NULL},
		SEV_TRACE);
	assert_all((const char *const[]){"kernel: [12.3] CRITICAL: overheating", "[crit] x",
			   "level=critical", NULL},
		SEV_FATAL + 2);
}

static void test_lines_of_no_level(void **state)
{
	assert_all(
		(const char *const[]){"", "   ", "x", "no errors", "no error",
			"found no error in the file", "NO ERROR",
			"finished with 0 ERROR, 0 WARNING", "3 error pages served",
			"error reading file", "errors: 3", "ErrorCode 5", "x.ERROR.y", "MY_ERROR",
			"my-ERROR", "ERROR_CODE=5", "GET /ERROR HTTP/1.1", "GET /info HTTP/1.1",
			"INFORMATION_SCHEMA", "I/O timeout", "the info desk is closed", "I am here",
			"A warning was given", "state=error",
			"10.0.0.1 - - [21/Aug/2026:10:00:00 +0000] \"GET /debug HTTP/1.1\" 200 5",
			"Jul  1 09:00:55 calvisitor-10-105-160-95 kernel[0]: IOThunderboltSwitch<0>(0x0)::listener",
			"{\"msg\":\"level\",\"inner\":{\"level\":\"error\"}}",
			"{\"level\":", "{\"level\":\"", "{\"level\":\"high\"}", "{\"level\":31}",
			"{\"error\":\"x\"}", "{", "{}", "level=", "level", "level=high", "LOG: x",
			"CATALOG [x]", "1234:M 21 Aug 2026 10:00:00.123 x y", "1234:M is # 1",
			"[1234] * x", "12:30 * x", "level=301", "level=31", "level=3",
			"{\"s\":\"E\"}", "{\"log\":\"level\"}",
			"{\"log\":{\"a\":{\"level\":\"info\"}}}",
			"{\"t\":{\"$date\":\"x\"},\"s\":\"X\"}", "PHP is fatal error: prone",
			"PHP 8.2 Warnings", "I0821", "I08212 10:00:00 x", "[System] x",
			"System] [MY-", "ValueError: bad", "(C) 2026 Somebody", "List<E> x",
			"a[I] x", "[T] x", "see section (F)", "return f(error);", "result<error> x",
			"a[info] = 1", "java.lang.Error: x", "Terror: the movie", NULL},
		SEV_UNKNOWN);
}

static void test_only_the_head_counts(void **state)
{
	char line[400];

	memset(line, 'x', sizeof line);
	memcpy(line + 300, " ERROR ", 7);
	assert_int_equal(severity_detect(str_make(line, sizeof line)), 0);
	memcpy(line + 100, " ERROR ", 7);
	assert_int_equal(severity_detect(str_make(line, sizeof line)), SEV_ERROR);
	memset(line, 'x', sizeof line);
	memcpy(line + HEAD_BYTES - 6, " ERROR", 6); /* goes on: ERRORxxx */
	assert_int_equal(severity_detect(str_make(line, sizeof line)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_lines_of_info),
		cmocka_unit_test(test_lines_of_errors),
		cmocka_unit_test(test_lines_of_other_levels),
		cmocka_unit_test(test_lines_of_no_level),
		cmocka_unit_test(test_only_the_head_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
