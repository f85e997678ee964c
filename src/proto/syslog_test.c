/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "proto/syslog.c"

/* 2026-08-21T10:00:00Z */
#define NOW 1787306400000000000

/* Messages by their parts; a NULL is an empty one.  `time` is RFC 3339, in a zone two hours
 * east. */
struct sample {
	const char *message;
	enum syslog_kind kind;
	int priority;
	const char *time, *host, *app, *process, *message_id, *text;
};

static void assert_part(const char *what, const char *message, struct str got, const char *expected)
{
	if (!str_eq(got, str_c(expected)))
		fail_msg("%s is '%.*s' instead of '%s': %s", what, STR_ARG(got),
			expected ? expected : "", message);
}

static void assert_sample(const struct sample *s)
{
	struct syslog_message m;
	int64_t ns = 0;

	syslog_decode(&m, str_c(s->message), NOW, 7200);
	if (m.kind != s->kind)
		fail_msg("kind %d instead of %d: %s", m.kind, s->kind, s->message);
	if (m.priority != s->priority)
		fail_msg("priority %d instead of %d: %s", m.priority, s->priority, s->message);
	if (m.has_time != !!s->time)
		fail_msg("%s: %s", m.has_time ? "a time" : "no time", s->message);
	if (s->time && (!time_parse_rfc3339(str_c(s->time), &ns) || m.time_ns != ns))
		fail_msg("time %ld instead of %s: %s", (long)m.time_ns, s->time, s->message);
	assert_part("host", s->message, m.host, s->host);
	assert_part("app", s->message, m.app, s->app);
	assert_part("process", s->message, m.process, s->process);
	assert_part("message_id", s->message, m.message_id, s->message_id);
	assert_part("text", s->message, m.text, s->text);
}

#define P   SYSLOG_PLAIN
#define O   SYSLOG_3164
#define N   SYSLOG_5424
#define AUG "2026-08-21T08:00:00Z"

static const struct sample rfc5424[] = {
	{"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed",
		N, 34, "2003-10-11T22:14:15.003Z", "mymachine.example.com", "su", NULL, "ID47",
		"'su root' failed"},
	{"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time.", N, 165,
		"2003-08-24T12:14:15.000003Z", "192.0.2.1", "myproc", "8710", NULL,
		"%% It's time."},
	{"<165>1 2026-08-21T10:00:00.123456789+05:30 h a p m [x@1 k=\"v\"] t", N, 165,
		"2026-08-21T04:30:00.123456789Z", "h", "a", "p", "m", "t"},
	{"<165>1 2026-08-21T10:00:00Z h a p m [x@1 k=\"v\"]", N, 165, "2026-08-21T10:00:00Z", "h",
		"a", "p", "m", ""},
	{"<0>1 - - - - - -", N, 0, NULL, NULL, NULL, NULL, NULL, ""},
	{"<0>1 - - - - - - x", N, 0, NULL, NULL, NULL, NULL, NULL, "x"},
	{"<191>999 - h a - - - x", N, 191, NULL, "h", "a", NULL, NULL, "x"},
	/* two blanks: the second belongs to the text; an empty host */
	{"<13>1 2026-08-21T10:00:00Z h a - - -  x", N, 13, "2026-08-21T10:00:00Z", "h", "a", NULL,
		NULL, " x"},
	{"<13>1 2026-08-21T10:00:00Z  a - - - x", N, 13, "2026-08-21T10:00:00Z", NULL, "a", NULL,
		NULL, "x"},
	/* bytes: control, NUL inside, invalid UTF-8, line ends inside */
	{"<13>1 - h a - - - a\x01\xff\xfe\n b\r\n", N, 13, NULL, "h", "a", NULL, NULL,
		"a\x01\xff\xfe\n b"},
	{"\xef\xbb\xbf<13>1 - h a - - - x", N, 13, NULL, "h", "a", NULL, NULL, "x"},
	/* Heroku leaves the structured data out */
	{"<40>1 2012-11-30T06:45:29+00:00 host app web.3 - State changed from starting to up", N,
		40, "2012-11-30T06:45:29Z", "host", "app", "web.3", NULL,
		"State changed from starting to up"},
	/* structured data that is none stays text */
	{"<13>1 2026-08-21T10:00:00Z h a - - [x y=z] t", N, 13, "2026-08-21T10:00:00Z", "h", "a",
		NULL, NULL, "[x y=z] t"},
	{"<13>1 2026-08-21T10:00:00Z h a - - [x y=\"z t", N, 13, "2026-08-21T10:00:00Z", "h", "a",
		NULL, NULL, "[x y=\"z t"},
	{"<13>1 2026-08-21T10:00:00Z h a - - [x y=\"z\"][t", N, 13, "2026-08-21T10:00:00Z", "h",
		"a", NULL, NULL, "[t"},
	{"<13>1 2026-08-21T10:00:00Z h a - - [x y=\"z\"]t", N, 13, "2026-08-21T10:00:00Z", "h", "a",
		NULL, NULL, "t"},
	/* cut short */
	{"<13>1 2026-08-21T10:00:00Z h a", N, 13, "2026-08-21T10:00:00Z", "h", "a", NULL, NULL, ""},
	{"<13>1 2026-08-21T10:00:00Z h a - \x01 x", N, 13, "2026-08-21T10:00:00Z", "h", "a", NULL,
		NULL, "\x01 x"},
	/* without its zone, and with a bad time before good data */
	{"<13>1 2026-08-21T10:00:00 h a - - - x", N, 13, AUG, "h", "a", NULL, NULL, "x"},
	{"<13>1 0000-00-00T00:00:00Z h a - - - x", N, 13, NULL, "h", "a", NULL, NULL, "x"},
	{"<165>1 2026-08-21T10:00:00.5Z fw RT_FLOW - RT_FLOW_SESSION_CREATE "
	 "[junos@2636.1.1.1.2.39 source-address=\"1.2.3.4\"]",
		N, 165, "2026-08-21T10:00:00.5Z", "fw", "RT_FLOW", NULL, "RT_FLOW_SESSION_CREATE",
		""},
	/* what only looks like it */
	{"<13>1 - item removed", O, 13, NULL, NULL, NULL, NULL, NULL, "1 - item removed"},
	{"<13>0 - h a - - - x", O, 13, NULL, NULL, NULL, NULL, NULL, "0 - h a - - - x"},
	{"<13>1000 - h a - - - x", O, 13, NULL, NULL, NULL, NULL, NULL, "1000 - h a - - - x"},
	{"<13>1 0000-00-00T00:00:00Z h a", O, 13, NULL, NULL, NULL, NULL, NULL,
		"1 0000-00-00T00:00:00Z h a"},
	{"<13>1", O, 13, NULL, NULL, NULL, NULL, NULL, "1"},
	{"<13>1 ", O, 13, NULL, NULL, NULL, NULL, NULL, "1 "},
};

static const struct sample rfc3164[] = {
	{"<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8", O, 34,
		"2026-10-11T20:14:15Z", "mymachine", "su", NULL, NULL,
		"'su root' failed for lonvick on /dev/pts/8"},
	{"<165>Aug 24 05:34:00 CST 1987 mymachine myproc[10]: %% It's", O, 165,
		"1987-08-24T11:34:00Z", "mymachine", "myproc", "10", NULL, "%% It's"},
	{"<13>Aug 21 10:00:00 h postfix/smtpd[12]: x", O, 13, AUG, "h", "postfix/smtpd", "12", NULL,
		"x"},
	{"<13>Aug 21 10:00:00 h sshd(pam_unix)[19939]: x", O, 13, AUG, "h", "sshd(pam_unix)",
		"19939", NULL, "x"},
	{"<13>Aug 21 10:00:00 h com.apple.xpc.launchd[1] (com.apple.x[2]): y", O, 13, AUG, "h",
		"com.apple.xpc.launchd", "1", NULL, "(com.apple.x[2]): y"},
	{"<13>Aug 21 10:00:00 h /usr/sbin/cron[5]: x", O, 13, AUG, "h", "/usr/sbin/cron", "5", NULL,
		"x"},
	{"<13>Aug 21 10:00:00 h -bash[5]: x", O, 13, AUG, "h", "-bash", "5", NULL, "x"},
	{"<13>Aug 21 10:00:00 h app[main-1]:x", O, 13, AUG, "h", "app", "main-1", NULL, "x"},
	{"<13>Aug 21 10:00:00 h kernel: [  12.3] x", O, 13, AUG, "h", "kernel", NULL, NULL,
		"[  12.3] x"},
	{"<13>Aug 21 10:00:00 h app:  two blanks", O, 13, AUG, "h", "app", NULL, NULL,
		" two blanks"},
	{"<13>Aug 21 10:00:00 h app:", O, 13, AUG, "h", "app", NULL, NULL, ""},
	{"<13>Aug 21 10:00:00 h app text without a colon", O, 13, AUG, "h", NULL, NULL, NULL,
		"app text without a colon"},
	{"<13>Aug 21 10:00:00 h 0123456789ab[7]: x", O, 13, AUG, "h", "0123456789ab", "7", NULL,
		"x"},
	{"<13>Aug 21 10:00:00 h app: @cee: {\"a\":1}", O, 13, AUG, "h", "app", NULL, NULL,
		"@cee: {\"a\":1}"},
	/* days, years, fractions, zones */
	{"<13>Aug  1 10:00:00 h a: x", O, 13, "2026-08-01T08:00:00Z", "h", "a", NULL, NULL, "x"},
	{"<13>Aug 1 10:00:00 h a: x", O, 13, "2026-08-01T08:00:00Z", "h", "a", NULL, NULL, "x"},
	{"<13>Aug 21 2026 10:00:00 h a: x", O, 13, AUG, "h", "a", NULL, NULL, "x"},
	{"<13>Aug 21 10:00:00 2026 h a: x", O, 13, AUG, "h", "a", NULL, NULL, "x"},
	{"<13>Aug 21 10:00:00.25 h a: x", O, 13, "2026-08-21T08:00:00.25Z", "h", "a", NULL, NULL,
		"x"},
	{"<13>Aug 21 10:00:00 UTC h a: x", O, 13, "2026-08-21T10:00:00Z", "h", "a", NULL, NULL,
		"x"},
	{"<13>Fri Aug 21 10:00:00 2026 h a: x", O, 13, AUG, "h", "a", NULL, NULL, "x"},
	{"<13>Feb 29 10:00:00 h a: x", O, 13, "2028-02-29T08:00:00Z", "h", "a", NULL, NULL, "x"},
	{"<13>Feb 30 10:00:00 h a: x", O, 13, NULL, NULL, NULL, NULL, NULL,
		"Feb 30 10:00:00 h a: x"},
	{"<13>Aug 21 10:00:00h a: x", O, 13, NULL, NULL, NULL, NULL, NULL, "Aug 21 10:00:00h a: x"},
	/* rsyslog's forward format, Go over the network, ESXi */
	{"<13>2026-08-21T10:00:00.123456+02:00 h a[1]: x", O, 13, "2026-08-21T08:00:00.123456Z",
		"h", "a", "1", NULL, "x"},
	{"<11>2026-08-21T10:00:00Z  a[1]: x", O, 11, "2026-08-21T10:00:00Z", NULL, "a", "1", NULL,
		"x"},
	{"<166>2026-08-21T10:00:00.5Z esx1.example.com Hostd: info hostd[2099] x", O, 166,
		"2026-08-21T10:00:00.5Z", "esx1.example.com", "Hostd", NULL, NULL,
		"info hostd[2099] x"},
	/* epochs */
	{"<13>1787306400 h a: x", O, 13, "2026-08-21T10:00:00Z", "h", "a", NULL, NULL, "x"},
	{"<13>1787306400.5000 h a: x", O, 13, "2026-08-21T10:00:00.5Z", "h", "a", NULL, NULL, "x"},
	{"<134>1 1787306400.123456789 MX84 urls src=1.2.3.4:5 x", O, 134,
		"2026-08-21T10:00:00.123456789Z", "MX84", NULL, NULL, NULL, "urls src=1.2.3.4:5 x"},
	{"<13>9787306400 h a: x", O, 13, NULL, NULL, NULL, NULL, NULL, "9787306400 h a: x"},
	/* hosts */
	{"<13>Aug 21 10:00:00 fw-1.example.com text", O, 13, AUG, "fw-1.example.com", NULL, NULL,
		NULL, "text"},
	{"<13>Aug 21 10:00:00 2001:db8::1 a: x", O, 13, AUG, "2001:db8::1", "a", NULL, NULL, "x"},
	{"<13>Aug 21 10:00:00 2010:db8::1 a: x", O, 13, AUG, "2010:db8::1", "a", NULL, NULL, "x"},
	{"<13>Aug 21 10:00:00 fe80::1%eth0 a: x", O, 13, AUG, "fe80::1%eth0", "a", NULL, NULL, "x"},
	{"<13>Aug 21 10:00:00 [::1] a: x", O, 13, AUG, "[::1]", "a", NULL, NULL, "x"},
	{"<13>Aug 21 10:00:00 10.0.0.1: x y", O, 13, AUG, "10.0.0.1", NULL, NULL, NULL, "x y"},
	{"<13>Aug 21 10:00:00 2001:db8::1: a[2]: y", O, 13, AUG, "2001:db8::1", "a", "2", NULL,
		"y"},
	{"<13>Aug 21 10:00:00 h.example.com: a[2]: y", O, 13, AUG, "h.example.com", "a", "2", NULL,
		"y"},
	{"<13>Aug 21 10:00:00 - a[2]: y", O, 13, AUG, NULL, "a", "2", NULL, "y"},
	{"<13>Aug 21 10:00:00 src@relay a[2]: y", O, 13, AUG, "src@relay", "a", "2", NULL, "y"},
	{"<13>Aug 21 10:00:00   h   a[2]: y", O, 13, AUG, "h", "a", "2", NULL, "y"},
	{"<13>Aug 21 10:00:00 1987 a text", O, 13, AUG, NULL, NULL, NULL, NULL, "1987 a text"},
	{"<13>Aug 21 10:00:00 h", O, 13, AUG, NULL, NULL, NULL, NULL, "h"},
	{"<13>Aug 21 10:00:00", O, 13, AUG, NULL, NULL, NULL, NULL, ""},
	/* no host: /dev/log, busybox, systemd */
	{"<13>Aug 21 10:00:00 root: x", O, 13, AUG, NULL, "root", NULL, NULL, "x"},
	{"<30>Aug 21 10:00:00 systemd[1]: Started x.", O, 30, AUG, NULL, "systemd", "1", NULL,
		"Started x."},
	{"<85>Aug 21 10:00:00 sudo: pam_unix(sudo:session): x", O, 85, AUG, NULL, "sudo", NULL,
		NULL, "pam_unix(sudo:session): x"},
	{"<13>root: x", O, 13, NULL, NULL, "root", NULL, NULL, "x"},
	{"<13>root[12]: x", O, 13, NULL, NULL, "root", "12", NULL, "x"},
	{"<13>root[12] x", O, 13, NULL, NULL, NULL, NULL, NULL, "root[12] x"},
	/* nothing but a PRI */
	{"<13>hello world", O, 13, NULL, NULL, NULL, NULL, NULL, "hello world"},
	{"<13>", O, 13, NULL, NULL, NULL, NULL, NULL, ""},
	{"<13> x", O, 13, NULL, NULL, NULL, NULL, NULL, " x"},
	{"<013>x", O, 13, NULL, NULL, NULL, NULL, NULL, "x"},
	{"<14>ERROR: x", O, 14, NULL, NULL, NULL, NULL, NULL, "ERROR: x"},
	{"<14>@cee: {\"a\":1}", O, 14, NULL, NULL, NULL, NULL, NULL, "@cee: {\"a\":1}"},
	{"<14>{\"a\": \"b: c\"}", O, 14, NULL, NULL, NULL, NULL, NULL, "{\"a\": \"b: c\"}"},
	{"<14>CEF:0|V|P|1|2|n|3|a=b", O, 14, NULL, NULL, NULL, NULL, NULL, "CEF:0|V|P|1|2|n|3|a=b"},
	{"<14>http://x: y", O, 14, NULL, NULL, NULL, NULL, NULL, "http://x: y"},
	{"<14>404: not found", O, 14, NULL, NULL, NULL, NULL, NULL, "404: not found"},
	/* a logging handler that writes its own time */
	{"<14>2026-08-21 10:00:00,123 INFO my.module: x", O, 14, "2026-08-21T08:00:00.123Z", NULL,
		NULL, NULL, NULL, "INFO my.module: x"},
	{"<14>2026-08-21 10:00:00 Connection refused", O, 14, AUG, NULL, NULL, NULL, NULL,
		"Connection refused"},
	{"<14>Aug 21 10:00:00 INFO x", O, 14, AUG, NULL, NULL, NULL, NULL, "INFO x"},
	{"<14>Aug 21 10:00:00 (x) y", O, 14, AUG, NULL, NULL, NULL, NULL, "(x) y"},
	/* daemons about themselves */
	{"<13>Aug 21 10:00:00 h last message repeated 3 times", O, 13, AUG, "h", NULL, NULL, NULL,
		"last message repeated 3 times"},
	{"<13>Aug 21 10:00:00 h -- MARK --", O, 13, AUG, "h", NULL, NULL, NULL, "-- MARK --"},
	/* ends */
	{"<14>x\n", O, 14, NULL, NULL, NULL, NULL, NULL, "x"},
	{"<14>x\r\n", O, 14, NULL, NULL, NULL, NULL, NULL, "x"},
	{"<14>x\r", O, 14, NULL, NULL, NULL, NULL, NULL, "x\r"},
	{"<14>x\r\r\n\n", O, 14, NULL, NULL, NULL, NULL, NULL, "x\r"},
	{"<14>\n", O, 14, NULL, NULL, NULL, NULL, NULL, ""},
	{"<14>a\n b\n", O, 14, NULL, NULL, NULL, NULL, NULL, "a\n b"},
};

static const struct sample devices[] = {
	{"<189>29: *Aug 21 10:00:00.123 UTC: %SYS-5-CONFIG_I: Configured", O, 189,
		"2026-08-21T10:00:00.123Z", NULL, NULL, NULL, "SYS-5-CONFIG_I",
		"%SYS-5-CONFIG_I: Configured"},
	{"<189>000029: .Aug 21 2026 10:00:00.123 CEST: %LINK-3-UPDOWN: x", O, 189,
		"2026-08-21T08:00:00.123Z", NULL, NULL, NULL, "LINK-3-UPDOWN", "%LINK-3-UPDOWN: x"},
	{"<189>29: sw1: Aug 21 10:00:00: %SYS-5-CONFIG_I: x", O, 189, AUG, "sw1", NULL, NULL,
		"SYS-5-CONFIG_I", "%SYS-5-CONFIG_I: x"},
	{"<189>29: 3w2d: %LINK-3-UPDOWN: x", O, 189, NULL, NULL, NULL, NULL, "LINK-3-UPDOWN",
		"3w2d: %LINK-3-UPDOWN: x"},
	{"<189>29: 00:01:23: %LINK-3-UPDOWN: x", O, 189, NULL, NULL, NULL, NULL, "LINK-3-UPDOWN",
		"00:01:23: %LINK-3-UPDOWN: x"},
	{"<189>29: %LINK-3-UPDOWN: x", O, 189, NULL, NULL, NULL, NULL, "LINK-3-UPDOWN",
		"%LINK-3-UPDOWN: x"},
	{"<189>29: sw1: %LINK-3-UPDOWN: x", O, 189, NULL, "sw1", NULL, NULL, "LINK-3-UPDOWN",
		"%LINK-3-UPDOWN: x"},
	{"<189>: 2026 Aug 21 10:00:00 UTC: %VSHD-5-VSHD_SYSLOG_CONFIG_I: x", O, 189,
		"2026-08-21T10:00:00Z", NULL, NULL, NULL, "VSHD-5-VSHD_SYSLOG_CONFIG_I",
		"%VSHD-5-VSHD_SYSLOG_CONFIG_I: x"},
	{"<189>Aug 21 10:00:00 sw1 %LINK-3-UPDOWN: x", O, 189, AUG, "sw1", NULL, NULL,
		"LINK-3-UPDOWN", "%LINK-3-UPDOWN: x"},
	{"<166>Aug 21 2026 10:00:00: %ASA-6-302013: x", O, 166, AUG, NULL, NULL, NULL,
		"ASA-6-302013", "%ASA-6-302013: x"},
	{"<166>Aug 21 2026 10:00:00 fw1 : %ASA-6-302013: x", O, 166, AUG, "fw1", NULL, NULL,
		"ASA-6-302013", "%ASA-6-302013: x"},
	{"<166>Aug 21 10:00:00 fw1: %ASA-6-302013: x", O, 166, AUG, "fw1", NULL, NULL,
		"ASA-6-302013", "%ASA-6-302013: x"},
	{"<166>:Aug 21 10:00:00 UTC: %ASA-6-302013: x", O, 166, "2026-08-21T10:00:00Z", NULL, NULL,
		NULL, "ASA-6-302013", "%ASA-6-302013: x"},
	{"<166>%ASA-6-302013: x", O, 166, NULL, NULL, NULL, NULL, "ASA-6-302013",
		"%ASA-6-302013: x"},
	{"<28>Aug 21 10:00:00 router1 rpd[1234]: RPD_BGP: x", O, 28, AUG, "router1", "rpd", "1234",
		NULL, "RPD_BGP: x"},
	{"<28>Aug 21 10:00:00  router1 /kernel: x", O, 28, AUG, "router1", "/kernel", NULL, NULL,
		"x"},
	{"<14>Aug 21 10:00:00 PA-VM 1,2026/08/21 10:00:00,001606001116,TRAFFIC", O, 14, AUG,
		"PA-VM", NULL, NULL, NULL, "1,2026/08/21 10:00:00,001606001116,TRAFFIC"},
	{"<189>date=2026-08-21 time=10:00:00 devname=\"x\"", O, 189, NULL, NULL, NULL, NULL, NULL,
		"date=2026-08-21 time=10:00:00 devname=\"x\""},
	{"<13>Aug 21 10:00:00 WIN1 MSWinEventLog\t1\tSecurity", O, 13, AUG, "WIN1", NULL, NULL,
		NULL, "MSWinEventLog\t1\tSecurity"},
};

static const struct sample plain[] = {
	{"", P, -1, NULL, NULL, NULL, NULL, NULL, ""},
	{"Use the BFG!", P, -1, NULL, NULL, NULL, NULL, NULL, "Use the BFG!"},
	{"<192>x", P, -1, NULL, NULL, NULL, NULL, NULL, "<192>x"},
	{"<999>x", P, -1, NULL, NULL, NULL, NULL, NULL, "<999>x"},
	{"<1234>x", P, -1, NULL, NULL, NULL, NULL, NULL, "<1234>x"},
	{"<>x", P, -1, NULL, NULL, NULL, NULL, NULL, "<>x"},
	{"<1 3>x", P, -1, NULL, NULL, NULL, NULL, NULL, "<1 3>x"},
	{"<-1>x", P, -1, NULL, NULL, NULL, NULL, NULL, "<-1>x"},
	{"<13", P, -1, NULL, NULL, NULL, NULL, NULL, "<13"},
	{" <13>x", P, -1, NULL, NULL, NULL, NULL, NULL, " <13>x"},
	{"app[12]: x", P, -1, NULL, NULL, NULL, NULL, NULL, "app[12]: x"},
	{"app: x", P, -1, NULL, NULL, NULL, NULL, NULL, "app: x"},
	{"\xef\xbb\xbfx", P, -1, NULL, NULL, NULL, NULL, NULL, "\xef\xbb\xbfx"},
	{"x\r\n", P, -1, NULL, NULL, NULL, NULL, NULL, "x"},
	/* a file's lines, sent as they are */
	{"Aug 21 10:00:00 h app[1]: x", O, -1, AUG, "h", "app", "1", NULL, "x"},
	{"Aug 21 10:00:00 app[1]: x", O, -1, AUG, NULL, "app", "1", NULL, "x"},
	{"Aug 21 10:00:00 h last message repeated 2 times", O, -1, AUG, "h", NULL, NULL, NULL,
		"last message repeated 2 times"},
	{"2026-08-21T10:00:00.5+02:00 h app[1]: x", O, -1, "2026-08-21T08:00:00.5Z", "h", "app",
		"1", NULL, "x"},
	/* only the time is sure, and stays in the text */
	{"Aug 21 10:00:00 connection refused", P, -1, AUG, NULL, NULL, NULL, NULL,
		"Aug 21 10:00:00 connection refused"},
	{"2026-08-21 10:00:00,123 INFO x: y", P, -1, "2026-08-21T08:00:00.123Z", NULL, NULL, NULL,
		NULL, "2026-08-21 10:00:00,123 INFO x: y"},
	{"2026-08-21 10:00:00 module: y", P, -1, AUG, NULL, NULL, NULL, NULL,
		"2026-08-21 10:00:00 module: y"},
};

static const struct {
	const struct sample *p;
	size_t n;
} samples[] = {
	{rfc5424, sizeof rfc5424 / sizeof *rfc5424},
	{rfc3164, sizeof rfc3164 / sizeof *rfc3164},
	{devices, sizeof devices / sizeof *devices},
	{plain, sizeof plain / sizeof *plain},
};

static void test_rfc5424(void **state)
{
	for (size_t i = 0; i < samples[0].n; i++)
		assert_sample(&rfc5424[i]);
}

static void test_rfc3164(void **state)
{
	for (size_t i = 0; i < samples[1].n; i++)
		assert_sample(&rfc3164[i]);
}

static void test_devices(void **state)
{
	for (size_t i = 0; i < samples[2].n; i++)
		assert_sample(&devices[i]);
}

static void test_plain(void **state)
{
	for (size_t i = 0; i < samples[3].n; i++)
		assert_sample(&plain[i]);
}

static void test_other_fields(void **state)
{
	struct syslog_message m;
	static const char nul[] = "<14>a\0b\0\n\0";

	syslog_decode(&m, STR("<189>29: *Aug 21 10:00:00.5 UTC: %A-5-B: x"), NOW, 0);
	assert_true(str_eq(m.sequence, STR("29")));
	assert_true(str_eq(m.time, STR("*Aug 21 10:00:00.5 UTC")));
	syslog_decode(&m, STR("<13>1 - h a - - [x a=\"]\"][y b=\"\\\"\\]\\\\\"] t"), NOW, 0);
	assert_true(str_eq(m.data, STR("[x a=\"]\"][y b=\"\\\"\\]\\\\\"]")));
	assert_true(str_eq(m.text, STR("t")));
	/* A NUL inside is text, at the end it is the sender's terminator. */
	syslog_decode(&m, str_make(nul, sizeof nul - 1), NOW, 0);
	assert_true(str_eq(m.text, str_make("a\0b", 3)));
	syslog_decode(&m, STR_NONE, NOW, 0);
	assert_int_equal(m.text.n, 0);
	assert_string_equal(syslog_facility(0), "kern");
	assert_string_equal(syslog_facility(191), "local7");
	assert_string_equal(syslog_facility(80), "authpriv");
	assert_string_equal(syslog_facility(-1), "");
	assert_string_equal(syslog_facility(192), "");
	assert_string_equal(syslog_severity(0), "emerg");
	assert_string_equal(syslog_severity(11), "err");
	assert_string_equal(syslog_severity(-1), "");
}

/* ---- no byte is lost ---- */

static void cover(bool *covered, struct str message, struct str part)
{
	for (size_t i = 0; i < part.n; i++)
		covered[part.p + i - message.p] = true;
}

/* What is in no field is one of the signs that the header names. */
static void assert_whole(struct str message)
{
	bool *covered = calloc(message.n + 1, 1);
	struct syslog_message m;
	size_t body, i = 0;

	syslog_decode(&m, message, NOW, 0);
	cover(covered, message, m.time);
	cover(covered, message, m.host);
	cover(covered, message, m.app);
	cover(covered, message, m.process);
	cover(covered, message, m.message_id);
	cover(covered, message, m.sequence);
	cover(covered, message, m.data);
	cover(covered, message, m.text);
	if (m.priority >= 0) {
		while (message.p[i] != '>')
			covered[i++] = true;
		covered[i++] = true;
		while (i < message.n && !covered[i] && is_digit(message.p[i]))
			covered[i++] = true; /* VERSION */
	}
	for (body = message.n; body > 0 && one_of(message.p[body - 1], "\r\n");)
		covered[--body] = true;
	for (i = 0; i < message.n; i++)
		if (!covered[i] && message.p[i] && !one_of(message.p[i], " :[]-\xef\xbb\xbf"))
			fail_msg("byte %zu is lost: %.*s", i, STR_ARG(message));
	free(covered);
}

/* Every cut, of exactly its size, for the sanitizers; and every byte damaged. */
static void test_no_byte_is_lost(void **state)
{
	for (size_t k = 0; k < sizeof samples / sizeof *samples; k++) {
		for (size_t j = 0; j < samples[k].n; j++) {
			const char *message = samples[k].p[j].message;
			size_t length = strlen(message);
			for (size_t n = 0; n <= length; n++) {
				char *cut_off = malloc(n + !n);
				memcpy(cut_off, message, n);
				assert_whole(str_make(cut_off, n));
				if (n > 0)
					cut_off[n - 1] ^= 0x15;
				assert_whole(str_make(cut_off, n));
				free(cut_off);
			}
		}
	}
}

/* ---- structured data ---- */

static void assert_data(const char *data, const char *expected)
{
	struct syslog_data d;
	struct buf got = {0};

	syslog_data_start(&d, str_c(data));
	while (syslog_data_next(&d)) {
		buf_str(&got, buf_view(&d.name));
		buf_char(&got, '=');
		buf_str(&got, buf_view(&d.value));
		buf_char(&got, ';');
	}
	assert_false(syslog_data_next(&d));
	assert_string_equal(buf_cstr(&got), expected);
	buf_fini(&got);
	syslog_data_fini(&d);
}

static void test_data(void **state)
{
	assert_data("", "");
	assert_data("[a@1 x=\"1\" y=\"2\"][b z=\"\"]", "a@1.x=1;a@1.y=2;b.z=;");
	assert_data("[a]", "a=;");
	assert_data("[a][b c=\"d\"][e]", "a=;b.c=d;e=;");
	assert_data("[a x=\"q\\\"b\\\\s\\]e\"]", "a.x=q\"b\\s]e;");
	assert_data("[a x=\"\\n\\\"\"]", "a.x=\\n\";");
	assert_data("[a  x=\"1\" ]", "a.x=1;");
	assert_data("[a x=\"\xc3\xa4\xff\"]", "a.x=\xc3\xa4\xff;");
	/* as far as it is well-formed */
	assert_data("[a x=\"1\" y=2]", "a.x=1;");
	assert_data("[a x=\"1\" y=\"2", "a.x=1;");
	assert_data("[a x=\"1\\", "");
	assert_data("[", "");
	assert_data("[]", "");
	assert_data("[a", "");
	assert_data("a", "");
	assert_data("[a x=\"1\"] text", "a.x=1;");
}

/* ---- framing ---- */

/* All messages of a stream that comes in pieces of `piece` bytes, each followed by a bar; a cut
 * one, or one whose count the end has broken off, by "..|". */
static char *frames(struct str stream, size_t piece, size_t max)
{
	struct buf in = {0}, out = {0};
	uint64_t skip = 0;
	size_t fed = 0;

	while (fed < stream.n || in.n > 0) {
		struct str message = STR_NONE;
		size_t n =
			skip ? syslog_skip(buf_view(&in), &skip)
			     : syslog_frame(buf_view(&in), max, fed == stream.n, &message, &skip);
		if (n == 0) {
			size_t more = stream.n - fed < piece ? stream.n - fed : piece;
			assert_true(in.n < max + SYSLOG_FRAME_MORE);
			assert_true(more > 0);
			buf_put(&in, stream.p + fed, more);
			fed += more;
			continue;
		}
		assert_true(n <= in.n);
		if (message.n > 0) {
			assert_true(message.n <= max);
			buf_str(&out, message);
			buf_c(&out, skip ? "..|" : "|");
		}
		buf_shift(&in, n);
	}
	buf_fini(&in);
	buf_char(&out, '\0');
	return out.p;
}

static void assert_frames(const char *p, size_t n, size_t max, const char *expected)
{
	char *stream = malloc(n + !n);

	memcpy(stream, p, n);
	for (size_t piece = 1; piece <= n + 1; piece++) {
		char *got = frames(str_make(stream, n), piece, max);
		if (strcmp(got, expected) != 0)
			fail_msg("pieces of %zu: '%s' instead of '%s'", piece, got, expected);
		free(got);
	}
	free(stream);
}

#define FRAMES(stream, max, expected) assert_frames(stream, sizeof stream - 1, max, expected)

static void test_frames(void **state)
{
	FRAMES("", 100, "");
	FRAMES("<1>a\n<1>b\n", 100, "<1>a|<1>b|");
	FRAMES("<1>a\r\n<1>b\r\n", 100, "<1>a|<1>b|");
	FRAMES("<1>a\0<1>b\0", 100, "<1>a|<1>b|");
	FRAMES("<1>a\0\n<1>b", 100, "<1>a|<1>b|");
	FRAMES("4 <1>a5 <1>bc", 100, "<1>a|<1>bc|");
	FRAMES("5 <1>a\n5 <1>b\n", 100, "<1>a\n|<1>b\n|");
	FRAMES("6 <1>a\nb4 <1>c", 100, "<1>a\nb|<1>c|");
	/* mixed, and what may stand between */
	FRAMES("4 <1>a<1>b\n4 <1>c\n\n \n  4 <1>d\r\n<1>e", 100, "<1>a|<1>b|<1>c| |<1>d|<1>e|");
	FRAMES("\xef\xbb\xbf<1>a\n7 \xef\xbb\xbf<1>b4 <1>c", 100,
		"\xef\xbb\xbf<1>a|\xef\xbb\xbf<1>b|<1>c|");
	FRAMES("\n\n\r\n\0\0", 100, "");
	FRAMES("\r\ra\r\n", 100, "\r\ra|");
	/* lines that start with digits */
	FRAMES("404 not found\n2026-08-21 x\n12\n5 <b>bold</b>\n1 <1x\n", 100,
		"404 not found|2026-08-21 x|12|5 <b>bold</b>|1 <1x|");
	FRAMES("0 <1>a\n04 <1>a\n1234567890 <1>a\n3 <1>\n2 <1>x\n", 100,
		"0 <1>a|04 <1>a|1234567890 <1>a|<1>|2 <1>x|");
	FRAMES("12", 100, "12|");
	FRAMES("12 ", 100, "12 |");
	FRAMES("12 <", 100, "12 <|");
	FRAMES("12 <1>a", 100, "<1>a..|");
	FRAMES("12 \xef", 100, "12 \xef|");
	FRAMES("12 \xef\xbb\n12 \xefx\n", 100, "12 \xef\xbb|12 \xefx|");
	FRAMES("  at x.y()\n          z\n        4 <1>a", 100, "  at x.y()|          z|<1>a|");
	/* a count that lies: nothing is lost but the right ends */
	FRAMES("3 <1>a\n<1>b\n", 100, "<1>|a|<1>b|");
	FRAMES("6 <1>a\n<1>b\n", 100, "<1>a\n<|1>b|");
}

static void test_long_frames(void **state)
{
	FRAMES("<1>456789\n<1>b\n", 9, "<1>456789|<1>b|");
	FRAMES("<1>456789\r\n<1>b\n", 9, "<1>456789|<1>b|");
	FRAMES("<1>4567890\n<1>b\n", 9, "<1>456789..|<1>b|");
	FRAMES("<1>4567890\r\n<1>b\n", 9, "<1>456789..|<1>b|");
	FRAMES("<1>456789\r0\n<1>b\n", 9, "<1>456789..|<1>b|");
	FRAMES("<1>45678901234567890\0<1>b", 9, "<1>456789..|<1>b|");
	FRAMES("<1>45678901234567890", 9, "<1>456789..|");
	FRAMES("9 <1>45678910 <1>4567890<1>b\n", 9, "<1>456789|<1>456789..|<1>b|");
	FRAMES("20 <1>4567890123456789\n4 <1>b", 9, "<1>456789..|<1>b|");
	FRAMES("999999999 <1>4567890123456789\n4 <1>b", 9, "<1>456789..|");
}

/* Streams of many messages, framed at random, in random pieces. */
static void test_random_streams(void **state)
{
	uint64_t x = 88172645463325252u;

	for (int round = 0; round < 200; round++) {
		struct buf stream = {0}, expected = {0};
		char *got;
		for (int i = 0; i < 20; i++) {
			char message[64];
			size_t n;
			bool counted;
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			counted = x & 1;
			n = (size_t)snprintf(message, sizeof message, "<%d>%d %.*s",
				(int)(x >> 8 & 127), (int)(x >> 16 & 0xffff), (int)(x >> 32 & 31),
				"the quick brown fox jumps over  12 <3>x");
			if (counted)
				buf_printf(&stream, "%zu %s", n, message);
			else
				buf_printf(&stream, "%s%s", message, x & 2 ? "\n" : "\r\n");
			/* Only what follows a counted message as a line may not start like a
			 * count; these start with a PRI. */
			if (n > 24)
				n = 24, snprintf(message + n, 4, "..");
			buf_printf(&expected, "%s|", message);
		}
		got = frames(buf_view(&stream), 1 + (size_t)(x % 37), 24);
		assert_string_equal(got, buf_cstr(&expected));
		free(got);
		buf_fini(&stream);
		buf_fini(&expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc5424),
		cmocka_unit_test(test_rfc3164),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_other_fields),
		cmocka_unit_test(test_no_byte_is_lost),
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_long_frames),
		cmocka_unit_test(test_random_streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
