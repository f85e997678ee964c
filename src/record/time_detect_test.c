/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "record/time_detect.c"

/* 2026-08-21T10:00:00Z */
#define NOON_ISH 1787306400000000000

static int64_t rfc3339(const char *s)
{
	int64_t ns;

	if (!time_parse_rfc3339(str_c(s), &ns))
		fail_msg("%s", s);
	return ns;
}

static void assert_detects(const char *line, const char *expected)
{
	int64_t ns;

	if (!time_detect(str_c(line), NOON_ISH, 3600, &ns))
		fail_msg("no time: %s", line);
	if (ns != rfc3339(expected)) {
		struct buf got = {0};
		time_format(&got, ns);
		fail_msg("%s: %s", line, buf_cstr(&got));
	}
}

/* Without a zone: one hour east. */
static void test_detect_shapes(void **state)
{
	assert_detects("2026-08-21T10:00:00Z x", "2026-08-21T10:00:00Z");
	assert_detects("2026-08-21T10:00:00.123456789Z", "2026-08-21T10:00:00.123456789Z");
	assert_detects("2026-08-21T10:00:00.1234567891Z", "2026-08-21T10:00:00.123456789Z");
	assert_detects("2026-08-21T10:00:00+02:00 x", "2026-08-21T08:00:00Z");
	assert_detects("2026-08-21T10:00:00+0200 x", "2026-08-21T08:00:00Z");
	assert_detects("2026-08-21T10:00:00-03 x", "2026-08-21T13:00:00Z");
	assert_detects("2026-08-21T10:00Z x", "2026-08-21T10:00:00Z");
	assert_detects("2026-08-21 10:00:00 x", "2026-08-21T09:00:00Z");
	assert_detects("2026-08-21 10:00:00,123 INFO x", "2026-08-21T09:00:00.123Z");
	assert_detects("2026-08-21 10:00:00.5 x", "2026-08-21T09:00:00.5Z");
	assert_detects("2026-08-21 10:00:00 +0200 x", "2026-08-21T08:00:00Z");
	assert_detects("2026-08-21 10:00:00 -02:00 x", "2026-08-21T12:00:00Z");
	assert_detects("2026-08-21 10:00:00.123 UTC [7] LOG: x", "2026-08-21T10:00:00.123Z");
	assert_detects("2026-08-21 10:00:00 - root - x", "2026-08-21T09:00:00Z");
	assert_detects("2026-08-21 10:00:00 -5 x", "2026-08-21T09:00:00Z");
	assert_detects("2016-09-28 04:30:30, Info  CBS  x", "2016-09-28T03:30:30Z");
	assert_detects("2026/08/21 10:00:00 [error] x", "2026-08-21T09:00:00Z");
	assert_detects("20260821T100000Z x", "2026-08-21T10:00:00Z");
	assert_detects("Aug 21 10:00:00 host app[1]: x", "2026-08-21T09:00:00Z");
	assert_detects("Aug  1 10:00:00 host app: x", "2026-08-01T09:00:00Z");
	assert_detects("Aug 1 10:00:00 host app: x", "2026-08-01T09:00:00Z");
	assert_detects("Aug 21 2020 10:00:00 host x", "2020-08-21T09:00:00Z");
	assert_detects("Aug 21 10:00:00.123 host x", "2026-08-21T09:00:00.123Z");
	assert_detects("[Sun Dec 04 04:47:44 2005] [error] x", "2005-12-04T03:47:44Z");
	assert_detects("[Sun Dec 04 04:47:44.123456 2005] [x:y] z", "2005-12-04T03:47:44.123456Z");
	assert_detects("Sun Dec  4 04:47:44 UTC 2005 x", "2005-12-04T04:47:44Z");
	assert_detects("Sun, 04 Dec 2005 04:47:44 GMT x", "2005-12-04T04:47:44Z");
	assert_detects("10.0.0.1 - - [21/Aug/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5",
		"2026-08-21T10:00:00Z");
	assert_detects("12345:M 21 Aug 2026 10:00:00.123 * Ready", "2026-08-21T09:00:00.123Z");
	assert_detects("081109 203615 148 INFO dfs.DataNode: x", "2008-11-09T19:36:15Z");
	assert_detects("17/06/09 20:10:40 INFO executor.x: y", "2017-06-09T19:10:40Z");
	assert_detects("03-17 16:13:38.811  1702  2395 D W: x", "2026-03-17T15:13:38.811Z");
	assert_detects("I0821 10:00:00.123456 1 x.go:4] y", "2026-08-21T09:00:00.123456Z");
	assert_detects(
		"- 1117838570 2005.06.03 R02-M1-N0-C:J12-U11 2005-06-03-15.42.50.675872 R02 x",
		"2005-06-03T14:42:50.675872Z");
	assert_detects(
		"nova-api.log.1 2017-05-16 00:00:00.008 25746 INFO x", "2017-05-15T23:00:00.008Z");
	assert_detects("INFO 2026-08-21 10:00:00 x", "2026-08-21T09:00:00Z");
	assert_detects("[INFO ] [2026-08-21 10:00:00] x", "2026-08-21T09:00:00Z");
	assert_detects("[I 2026-08-21 10:00:00.5 App] x", "2026-08-21T09:00:00.5Z");
	assert_detects("\t2026-08-21 10:00:00", "2026-08-21T09:00:00Z");
	assert_detects("(2026-08-21T10:00:00Z)", "2026-08-21T10:00:00Z");
	assert_detects("2024-02-29 10:00:00 x", "2024-02-29T09:00:00Z");
	assert_detects("990101 000000 x", "1998-12-31T23:00:00Z");
}

/* Programs and devices as they write, in a zone one hour east. */
static const struct {
	const char *line, *expected;
} programs[] = {
	/* web servers and proxies */
	{"2026/08/21 10:00:00 [error] 29#29: *1 open() failed", "2026-08-21T09:00:00Z"},
	{"[Fri Aug 21 10:00:00.123456 2026] [core:error] [pid 1:tid 2] AH1",
		"2026-08-21T09:00:00.123456Z"},
	{"10.0.0.1 - frank [21/Aug/2026:10:00:00 -0700] \"GET / HTTP/1.1\" 200 5",
		"2026-08-21T17:00:00Z"},
	{"example.com:80 2001:db8::1 - - [21/Aug/2026:10:00:00 +0000] \"GET /\"",
		"2026-08-21T10:00:00Z"},
	{"10.0.1.2:33317 [21/Aug/2026:10:00:00.655] http-in static/s1 10/0/30",
		"2026-08-21T09:00:00.655Z"},
	{"Aug 21 10:00:00 localhost haproxy[1]: 10.0.0.1:1 [20/Aug/2026:01:02:03.655] f",
		"2026-08-21T09:00:00Z"},
	{"1787306400.123    345 10.0.0.1 TCP_MISS/200 1 GET http://x/ - DIRECT/1.2.3.4 -",
		"2026-08-21T10:00:00.123Z"},
	{"2026/08/21 10:00:00 kid1| WARNING: no", "2026-08-21T09:00:00Z"},
	{"2026-08-21 10:00:00 W3SVC1 10.0.0.1 GET /", "2026-08-21T09:00:00Z"},
	{"#Date: 2026-08-21 10:00:00", "2026-08-21T09:00:00Z"},
	{"Start-Date: 2026-08-21  10:00:00", "2026-08-21T09:00:00Z"},
	{"[2026-08-21T10:00:00.123Z] \"GET / HTTP/1.1\" 200", "2026-08-21T10:00:00.123Z"},
	{"[2026-08-21 10:00:00.123][1][info][main] [s.cc:1] x", "2026-08-21T09:00:00.123Z"},
	/* databases */
	{"2026-08-21 10:00:00.123 UTC [123] LOG:  x", "2026-08-21T10:00:00.123Z"},
	{"2026-08-21 10:00:00.123 CEST [123] LOG:  x", "2026-08-21T08:00:00.123Z"},
	{"2026-08-21 10:00:00 EST,\"u\",\"db\",1", "2026-08-21T15:00:00Z"},
	{"2026-08-21T10:00:00.123456Z 12 [Note] [MY-1] x", "2026-08-21T10:00:00.123456Z"},
	{"260821 10:00:00 [Note] x", "2026-08-21T09:00:00Z"},
	{"260821  9:00:00 InnoDB: x", "2026-08-21T08:00:00Z"},
	{"1234:M 21 Aug 2026 10:00:00.123 * Ready", "2026-08-21T09:00:00.123Z"},
	{"[1234] 21 Aug 10:00:00.123 * Ready", "2026-08-21T09:00:00.123Z"},
	{"{\"t\":{\"$date\":\"2026-08-21T10:00:00.123+02:00\"},\"s\":\"I\",\"c\":\"N\"}",
		"2026-08-21T08:00:00.123Z"},
	{"2026-08-21T10:00:00.123+0000 I NETWORK  [conn1] x", "2026-08-21T10:00:00.123Z"},
	{"2026.08.21 10:00:00.123456 [ 12 ] {} <Information> x", "2026-08-21T09:00:00.123456Z"},
	{"INFO  [main] 2026-08-21 10:00:00,123 x.java:1 - x", "2026-08-21T09:00:00.123Z"},
	{"2026-08-21 10:00:00.12 spid5s      Starting", "2026-08-21T09:00:00.12Z"},
	/* JSON lines */
	{"{\"time\":\"2026-08-21T10:00:00Z\",\"level\":\"INFO\",\"msg\":\"x\"}",
		"2026-08-21T10:00:00Z"},
	{"{\"@timestamp\": \"2026-08-21T10:00:00.5Z\"}", "2026-08-21T10:00:00.5Z"},
	{"{\"level\":30,\"time\":1787306400123,\"msg\":\"hello\"}", "2026-08-21T10:00:00.123Z"},
	{"{\"level\":\"info\",\"ts\":1787306400.1234567,\"msg\":\"x\"}",
		"2026-08-21T10:00:00.1234567Z"},
	{"{\"ts\":1.7873064005e+09,\"msg\":\"x\"}", "2026-08-21T10:00:00.5Z"},
	{"{\"msg\":\"a \\\"time\\\": \",\"timestamp\":1787306400123456}",
		"2026-08-21T10:00:00.123456Z"},
	{"{\"a\":{\"time\":1},\"timestamp\":\"1787306400123456789\"}",
		"2026-08-21T10:00:00.123456789Z"},
	{"{\"time\":\"12ms\",\"ts\":1787306400}", "2026-08-21T10:00:00Z"},
	{"{\"ts\":1787306400123.5}", "2026-08-21T10:00:00.1235Z"},
	{"{\"time\":\"2026-08-21 10:00:00.562264131 -0400 EDT\"}",
		"2026-08-21T14:00:00.562264131Z"},
	{"{\"time\":\"21/Aug/2026:10:00:00 +0000\"}", "2026-08-21T10:00:00Z"},
	{"{\"@t\":\"2026-08-21T10:00:00.1234567Z\",\"@mt\":\"x\"}", "2026-08-21T10:00:00.1234567Z"},
	{"web_1  | {\"time\":\"2026-08-21T10:00:00Z\"}", "2026-08-21T10:00:00Z"},
	/* logfmt, LTSV, audit */
	{"ts=2026-08-21T10:00:00.123Z caller=x level=info", "2026-08-21T10:00:00.123Z"},
	{"level=info ts=1787306400.25 msg=x", "2026-08-21T10:00:00.25Z"},
	{"time=\"2026-08-21T10:00:00+02:00\" level=info", "2026-08-21T08:00:00Z"},
	{"t=2026-08-21T10:00:00+0000 lvl=info", "2026-08-21T10:00:00Z"},
	{"time='2026-08-21 10:00:00'", "2026-08-21T09:00:00Z"},
	{"time=1787306400123 x=y", "2026-08-21T10:00:00.123Z"},
	{"host:10.0.0.1\ttime:[21/Aug/2026:10:00:00 +0000]\tx:y", "2026-08-21T10:00:00Z"},
	{"type=SYSCALL msg=audit(1787306400.123:45): arch=c", "2026-08-21T10:00:00.123Z"},
	{"audit: type=1400 audit(1787306400.123:45): apparmor", "2026-08-21T10:00:00.123Z"},
	{"date=2026-08-21 time=10:00:00 devname=\"x\"", "2026-08-21T09:00:00Z"},
	{"<189>date=2026-08-21 time=10:00:00 devname=\"x\"", "2026-08-21T09:00:00Z"},
	/* languages */
	{"I0821 10:00:00.123456  1234 file.go:12] x", "2026-08-21T09:00:00.123456Z"},
	{"E20260821 10:00:00.123456  1234 file.cc:12] x", "2026-08-21T09:00:00.123456Z"},
	{"10:00:00.123 [main] INFO x", "2026-08-21T09:00:00.123Z"},
	{"10:00:00,123 INFO x", "2026-08-21T09:00:00.123Z"},
	{"[10:00:00] [Server thread/INFO]: x", "2026-08-21T09:00:00Z"},
	{"[I 10:00:00.123 NotebookApp] x", "2026-08-21T09:00:00.123Z"},
	{"[I 260821 10:00:00 web:1] x", "2026-08-21T09:00:00Z"},
	{"10:00:00 INFO  x", "2026-08-21T09:00:00Z"},
	{"10:00:00 - root - x", "2026-08-21T09:00:00Z"},
	{"10:00:00 [main] x", "2026-08-21T09:00:00Z"},
	{"21-Aug-2026 10:00:00.123 INFO [main] x", "2026-08-21T09:00:00.123Z"},
	{"Aug 21, 2026 9:00:00 AM org.example.Main main", "2026-08-21T08:00:00Z"},
	{"Aug 21, 2026, 12:00:00 PM x", "2026-08-21T11:00:00Z"},
	{"2026-08-21 10:00:00,123 - root - ERROR - x", "2026-08-21T09:00:00.123Z"},
	{"D, [2026-08-21T10:00:00.123456 #123] DEBUG -- : x", "2026-08-21T09:00:00.123456Z"},
	{"[21-Aug-2026 10:00:00 UTC] PHP Warning:  x", "2026-08-21T10:00:00Z"},
	{"[21-Aug-2026 10:00:00 Europe/Berlin] PHP Warning:  x", "2026-08-21T09:00:00Z"},
	{"Started GET \"/a b\" for 127.0.0.1 at 2026-08-21 10:00:00 +0200", "2026-08-21T08:00:00Z"},
	{"[INFO][2026-08-21 10:00:00,123] x", "2026-08-21T09:00:00.123Z"},
	{"INFO|2026-08-21 10:00:00|x", "2026-08-21T09:00:00Z"},
	{"=INFO REPORT==== 21-Aug-2026::10:00:00.123456 ===", "2026-08-21T09:00:00.123456Z"},
	{"2026-Aug-21 10:00:00.123456 x", "2026-08-21T09:00:00.123456Z"},
	{"[Nest] 123  - 08/21/2026, 10:00:00 AM     LOG [NestFactory]", "2026-08-21T09:00:00Z"},
	{"[8/21/26 10:00:00:123 CEST] 00000001 SystemOut O x", "2026-08-21T08:00:00.123Z"},
	/* people's dates */
	{"08/21/2026 10:00:00 AM x", "2026-08-21T09:00:00Z"},
	{"08/21/2026 10:00:00 PM x", "2026-08-21T21:00:00Z"},
	{"08/21/2026 12:00:00 AM x", "2026-08-20T23:00:00Z"},
	{"8/1/2026 9:05:01 x", "2026-08-01T08:05:01Z"},
	{"21/08/2026 10:00:00 x", "2026-08-21T09:00:00Z"},
	{"21.08.2026 10:00:00 x", "2026-08-21T09:00:00Z"},
	{"1.8.2026 10:00:00 x", "2026-08-01T09:00:00Z"},
	{"21-08-2026 10:00:00 x", "2026-08-21T09:00:00Z"},
	{"Fri Aug 21 10:00:00 CEST 2026 x", "2026-08-21T08:00:00Z"},
	{"Fri Aug 21 10:00:00 AM UTC 2026", "2026-08-21T10:00:00Z"},
	{"Fri 21 Aug 2026 10:00:00 AM UTC", "2026-08-21T10:00:00Z"},
	/* syslog, devices and their relays */
	{"<34>Aug 21 10:00:00 h su: x", "2026-08-21T09:00:00Z"},
	{"<165>1 2026-08-21T10:00:00Z h a - - - x", "2026-08-21T10:00:00Z"},
	{"Aug 21 10:00:00 2026 h x", "2026-08-21T09:00:00Z"},
	{"Aug 24 05:34:00 CST 1987 mymachine x", "1987-08-24T11:34:00Z"},
	{"2026 Aug 21 10:00:00 switch %X-5-Y: x", "2026-08-21T09:00:00Z"},
	{"1,2026/08/21 10:00:00,001606001116,TRAFFIC", "2026-08-21T09:00:00Z"},
	{"20171223-22:15:29:606|Step_LSC|1|x", "2017-12-23T21:15:29.606Z"},
	{"20171223-2:5:9:6|Step_LSC|1|x", "2017-12-23T01:05:09.006Z"},
	{"20260821 10:00:00.5 x", "2026-08-21T09:00:00.5Z"},
	{"[10.30 16:49:06] chrome.exe - x", "2026-10-30T15:49:06Z"},
	{"- 1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228/dn228 x", "2026-11-09T11:01:01Z"},
	{"[1787306400] SERVICE ALERT: x", "2026-08-21T10:00:00Z"},
	{"2026-08-21 10:00:00:123 x", "2026-08-21T09:00:00.123Z"},
};

static void test_programs(void **state)
{
	for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
		assert_detects(programs[i].line, programs[i].expected);
}

static void test_detect_nothing(void **state)
{
	static const char *const lines[] = {"", " ", "x", "[", "hello world", "2026", "2026-08-21",
		"2026-08-21 x", "2026-02-30 10:00:00 x", "2025-02-29 10:00:00 x",
		"Feb 30 10:00:00 x", "2026-08-21 24:00:00 x", "2026-08-21 10:61:00 x",
		"2026-13-21 10:00:00", "2026-08-21 10:00:000", "2026-08-21T10:00:00_x",
		"2026-08-21T10:00:00abc", "Aug 21 10:00", "Aug 210:00:00 x y z",
		"August 21 10:00:00", "1.2.3.4 GET /x",
		"one two three four five 2026-08-21 10:00:00", "12345678901234567890", "1117838570",
		"081109 2036155 x", "081309 203615 x", "17/13/09 20:10:40 x", "Mon",
		"Sun Sun Sun Sun Sun", "03-17", "at 03-17 16:13:38", "error at 10:00:00",
		"9999-01-01 00:00:00", "2026-08-21T", "00000000000000", "Jan  0 10:00:00 x",
		"\xff\xfe\x00\x01",
		/* uptimes and durations */
		"[12345.678901] usb 1-1: x", "[    0.000000] Linux version", "10:00:00 elapsed",
		"00:01:23 remaining", "10:00:00", "12:34:56:78:9a:bc is up", "10:00:00.", "3w2d: x",
		/* versions, addresses, ids */
		"1.2.3", "v1.2.3 released", "10.20.30.40:8080 up", "2026.08.21 released",
		"3.10.2026 x", "1787306400 x", "1787306400123 x", "1787306400.1 x",
		"1787306400.12345678901", "1787306400.123abc", "[3074324160] x",
		"[140737353967424] x", "[1787306400.123 x", "4102444801.123 x", "0817306400.123 x",
		"20260821-1000-4000-8000-0123456789ab", "20260821-100000-x", "20260821100000",
		"x 20260821-100000", "123456789012345678 x", "550e8400-e29b-41d4-a716-446655440000",
		"08-21", "12/24 12:00:00", "1/2 1:00:00 x", "17/06/2009", "08/21/2026",
		"13/13/2026 10:00:00", "31.02.2026 10:00:00", "x=2026-08-21T10:00:00Z",
		"start=1787306400", "uptime=1787306400", "time=12.5ms", "time=10:00:00", "ts=123",
		"t=5s", "time", "time=", "ts=\"", "ts=99999999999", "ts=9999999999",
		"ts=0999999999", "ts=1787306400x", "ts=-1", "msg=audit(123)",
		"msg=audit(1787306400.123", "audit(", "timeout=1787306400", "{\"time\":12}",
		"{\"time\":\"soon\"}", "{\"time\":\"10:00:00\"}", "{\"ts\":null}",
		"{\"a\":{\"time\":\"2026-08-21T10:00:00Z\"}}", "{\"time\":{\"a\":\"2026\"}}",
		"{\"time\":", "{\"time\":\"", "{\"time\"", "{", "{}", "{\"msg\":\"time\"}",
		"[{\"time\":\"x\"}]", "May the 4th be with you", "March 1 10:00:00",
		"Mar 1 10:00:00x", "Started GET \"/\" for 1.2.3.4", "Started ",
		"Started x for y at z", "<134>", "<13", "<134>10:00:00 x", "I0821",
		"I0821 25:00:00.1 1 x.go:1] y", "I08211 10:00:00 x", "E20261321 10:00:00.1",
		"260821 10:00:00x", "260821 10:00x00 x", "Aug 21, 2026 x", "99/99/9999 99:99:99"};
	int64_t ns = 5;

	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		if (time_detect(str_c(lines[i]), NOON_ISH, 0, &ns))
			fail_msg("taken: %s", lines[i]);
	assert_int_equal(ns, 5);
}

static void assert_year(const char *observed, const char *line, const char *expected)
{
	int64_t ns;

	assert_true(time_detect(str_c(line), rfc3339(observed), 0, &ns));
	if (ns != rfc3339(expected))
		fail_msg("%s, seen at %s, is not %s", line, observed, expected);
}

static void test_the_nearest_year(void **state)
{
	assert_year("2026-01-01T00:00:10Z", "Dec 31 23:59:59 h x", "2025-12-31T23:59:59Z");
	assert_year("2025-12-31T23:59:50Z", "Jan  1 00:00:01 h x", "2026-01-01T00:00:01Z");
	assert_year("2026-06-15T00:00:00Z", "Jan  1 00:00:01 h x", "2026-01-01T00:00:01Z");
	assert_year("2026-03-01T00:00:00Z", "Oct  1 00:00:00 h x", "2025-10-01T00:00:00Z");
	assert_year("2026-03-01T00:00:00Z", "08-01 00:00:00 h x", "2026-08-01T00:00:00Z");
	assert_year("2025-03-01T00:00:00Z", "Feb 29 12:00:00 h x", "2024-02-29T12:00:00Z");
	assert_year("2027-03-01T00:00:00Z", "Feb 29 12:00:00 h x", "2028-02-29T12:00:00Z");
	assert_year("1900-03-01T00:00:00Z", "Feb 29 12:00:00 h x", "1896-02-29T12:00:00Z");
	assert_year("1970-01-01T00:00:00Z", "Dec 31 23:59:59 h x", "1969-12-31T23:59:59Z");
	assert_year("2262-04-11T00:00:00Z", "Apr 12 00:00:00 h x", "2261-04-12T00:00:00Z");
}

/* A zone's word moves the time; any other word of capitals does not. */
static void test_zone_words(void **state)
{
	static const struct {
		const char *word;
		int minutes;
	} cases[] = {{"UTC", 0}, {"GMT", 0}, {"CET", 60}, {"CEST", 120}, {"EST", -300},
		{"EDT", -240}, {"CST", -360}, {"PDT", -420}, {"JST", 540}, {"ACST", 570},
		{"NZDT", 780}, {"Z", 0}, {"+0530", 330}, {"-03:30", -210}};
	static const char *const others[] = {
		"IST", "INFO", "LOG", "ES", "ESTX", "EST5", "UTCC", "est", "-5", "+05", "z1"};
	char line[64];
	int64_t ns;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(line, sizeof line, "2026-08-21 10:00:00 %s x", cases[i].word);
		assert_true(time_detect(str_c(line), NOON_ISH, 7200, &ns));
		assert_int_equal(ns, NOON_ISH - cases[i].minutes * 60 * second_ns);
	}
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		snprintf(line, sizeof line, "2026-08-21 10:00:00 %s x", others[i]);
		assert_true(time_detect(str_c(line), NOON_ISH, 7200, &ns));
		assert_int_equal(ns, NOON_ISH - 7200 * second_ns);
	}
}

static void test_the_nearest_day(void **state)
{
	assert_year("2026-08-21T00:00:10Z", "23:59:59.000 x", "2026-08-20T23:59:59Z");
	assert_year("2026-08-21T23:59:50Z", "00:00:01.000 x", "2026-08-22T00:00:01Z");
	assert_year("2026-08-21T12:00:00Z", "00:00:01.000 x", "2026-08-21T00:00:01Z");
	assert_year("2026-12-31T23:59:59Z", "00:00:01.000 x", "2027-01-01T00:00:01Z");
	assert_year("2024-03-01T00:00:01Z", "23:00:00.000 x", "2024-02-29T23:00:00Z");
	assert_year("1969-12-31T23:59:59Z", "00:00:01.000 x", "1970-01-01T00:00:01Z");
	assert_year("2262-04-11T23:47:16Z", "00:00:01.000 x", "2262-04-11T00:00:01Z");
}

/* Random times as libc writes them: what is read is what was written, in any zone. */
static void test_agrees_with_strftime(void **state)
{
	static const struct {
		const char *format;
		bool zoned;
	} formats[] = {{"%Y-%m-%dT%H:%M:%S x", false}, {"%Y-%m-%d %H:%M:%S%z x", true},
		{"[%a %b %d %H:%M:%S %Y] x", false}, {"%a %b %e %H:%M:%S %Y x", false},
		{"a - - [%d/%b/%Y:%H:%M:%S %z] x", true}, {"%d-%b-%Y %H:%M:%S x", false},
		{"%m/%d/%Y %I:%M:%S %p x", false}, {"%b %d, %Y %I:%M:%S %p x", false},
		{"%d.%m.%Y %H:%M:%S x", false}, {"%y%m%d %H%M%S x", false},
		{"%y/%m/%d %H:%M:%S x", false}, {"%Y%m%dT%H%M%S x", false},
		{"%b %e %Y %H:%M:%S x", false}, {"%Y %b %e %H:%M:%S x", false},
		{"{\"time\":\"%Y-%m-%dT%H:%M:%S%z\"}", true}, {"ts=%s x", true},
		{"I%Y%m%d %H:%M:%S.0 x", false}, {"%a, %d %b %Y %H:%M:%S %z x", true},
		{"D, [%Y-%m-%dT%H:%M:%S #1] x", false}, {"%Y/%m/%d %H:%M:%S [error] x", false}};
	uint64_t r = 88172645463325252u;

	for (int i = 0; i < 20000; i++) {
		const char *format = formats[i % (sizeof formats / sizeof *formats)].format;
		bool zoned = formats[i % (sizeof formats / sizeof *formats)].zoned;
		int64_t ns, seconds;
		int zone;
		struct tm tm;
		time_t local;
		char line[128];
		r ^= r << 13, r ^= r >> 7, r ^= r << 17;
		seconds = 1000000000 + (int64_t)(r % 1600000000);
		zone = (int)(r >> 40 & 63) * 900 - 8 * 3600;
		local = seconds + zone;
		gmtime_r(&local, &tm);
		tm.tm_gmtoff = zone;
		if (strstr(format, "%s"))
			snprintf(line, sizeof line, "ts=%lld x", (long long)seconds);
		else
			strftime(line, sizeof line, format, &tm);
		if (!time_detect(str_c(line), NOON_ISH, zoned ? 12345 : zone, &ns))
			fail_msg("no time: %s", line);
		if (ns != seconds * second_ns)
			fail_msg("%lld instead of %lld: %s", (long long)(ns / second_ns),
				(long long)seconds, line);
	}
}

/* A time that is read where it stands, and its length. */
static void test_read(void **state)
{
	static const struct {
		const char *text;
		size_t n;
	} cases[] = {{"Aug 21 10:00:00 host", 15}, {"Aug  1 10:00:00.123: x", 19},
		{"Aug 21 10:00:00 2026 host", 20}, {"Aug 21 2026 10:00:00 host", 20},
		{"Aug 21 10:00:00.123 UTC: %X", 23}, {"2026-08-21T10:00:00.5+02:00 h", 27},
		{"2026-08-21T10:00:00Z", 20}, {"1787306400.123456 h", 17},
		{"2026 Aug 21 10:00:00 h", 20}, {"10:00:00.123 h", 0}, {"1787306400 h", 0}, {"", 0},
		{" Aug 21 10:00:00", 0}, {"Aug 21", 0}, {"{\"time\":1787306400}", 0},
		{"ts=1787306400.1", 0}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int64_t ns;
		size_t n = time_read(str_c(cases[i].text), NOON_ISH, 0, &ns);
		if (n != cases[i].n)
			fail_msg("%zu bytes of %s", n, cases[i].text);
	}
}

/* Every cut of every line, of exactly its size: for the sanitizers. */
static void test_cuts(void **state)
{
	for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
		const char *line = programs[i].line;
		for (size_t n = 0; n <= strlen(line); n++) {
			char *cut = malloc(n + !n);
			int64_t ns;
			memcpy(cut, line, n);
			time_detect(str_make(cut, n), NOON_ISH, 0, &ns);
			time_read(str_make(cut, n), NOON_ISH, 0, &ns);
			free(cut);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_detect_shapes),
		cmocka_unit_test(test_programs),
		cmocka_unit_test(test_detect_nothing),
		cmocka_unit_test(test_zone_words),
		cmocka_unit_test(test_the_nearest_year),
		cmocka_unit_test(test_the_nearest_day),
		cmocka_unit_test(test_agrees_with_strftime),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
