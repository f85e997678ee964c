/* SPDX-License-Identifier: Apache-2.0 */
/* From a message to a record: time, stream, severity, and whether it may come in. */
#include "input/syslog_input.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/metric.h"
#include "net/loopback.h"
#include "record/severity.h"
#include "record/time.h"

enum {
	STREAM_VALUE_MAX = 255, /* bytes of a host or app as a label */
	TOKEN_NS = 1000000000,
};

static int zone_now(struct syslog_input *in)
{
	/* Looked up anew each quarter of an hour of the clock: no zone changes in between. */
	static const int64_t step = 900 * NS_PER_SEC;

	if (in->observed_ns >= in->zone_until_ns || in->observed_ns < in->zone_until_ns - step) {
		in->zone_seconds = in->zone ? zone_offset(in->zone, in->observed_ns)
					    : time_local_zone(in->observed_ns);
		in->zone_until_ns = in->observed_ns - in->observed_ns % step + step;
	}
	return in->zone_seconds;
}

/* The token that each message must carry.  Checked when it changes, and whether it is still
 * good once a second. */
static int check_token(struct syslog_input *in, struct session *s, struct str data, struct error *e)
{
	struct str secret = syslog_find_token(in, data);
	int r;

	if (secret.n == 0)
		return error_set(e, ERR_DENIED,
			"a message without a token: it must carry the structured data [sawlog@32473 "
			"token=\"slt_…\"]");
	if (s->checked_ns && str_eq(secret, buf_view(&s->secret))) {
		if (in->observed_ns - s->checked_ns < TOKEN_NS && in->observed_ns >= s->checked_ns)
			return 0;
		s->checked_ns = in->observed_ns;
		if (tokens_alive(in->env->tokens, s->token.id))
			return 0;
	}
	s->checked_ns = 0;
	if ((r = tokens_check(in->env->tokens, secret, &s->token, e)) < 0)
		return r;
	if (!token_may(s->token.scopes, SCOPE_INGEST))
		return error_set(e, ERR_DENIED, "token %s has not the scope ingest", s->token.id);
	buf_clear(&s->secret);
	buf_str(&s->secret, secret);
	s->checked_ns = in->observed_ns;
	return 0;
}

static struct outlet *outlet_for(struct syslog_input *in, const struct origin *from)
{
	const struct session *s = from->session;

	if (!in->s->port.token || !s || strcmp(s->token.tenant, "*") == 0)
		return outlets_of(in->outlets, STR_NONE);
	return outlets_of(in->outlets, str_c(s->token.tenant));
}

/* Host and app of the labels; what the message says and they do not hold in full becomes a
 * field. */
static void name_stream(struct syslog_input *in, const struct origin *from,
	const struct syslog_message *m, struct str *host, struct str *app, struct str *fields)
{
	if (in->fixed_host.n)
		*host = in->fixed_host;
	else if (m->host.n)
		*host = str_sub(m->host, 0, STREAM_VALUE_MAX);
	else
		*host = loopback_peer(from->ip) ? str_c(in->env->host) : from->ip;
	if (m->host.n && !str_eq(*host, m->host))
		fields[FIELD_HOSTNAME] = m->host;
	/* From this host under its own name: there is nothing to tell. */
	if (from->ip.n && !str_eq(from->ip, *host) &&
		!(loopback_peer(from->ip) && str_eq_c(*host, in->env->host)))
		fields[FIELD_PEER] = from->ip;
	*app = in->fixed_app.n ? in->fixed_app
	       : m->app.n      ? str_sub(m->app, 0, STREAM_VALUE_MAX)
			       : STR("syslog");
	if (m->app.n && !str_eq(*app, m->app))
		fields[FIELD_APPNAME] = m->app;
}

static void set_level(struct syslog_input *in, const struct syslog_message *m, struct str labels,
	struct record *r)
{
	if (m->priority < 0) {
		discover_level(&in->env->discover, labels, r);
		return;
	}
	r->severity = severity_from_syslog((unsigned)m->priority & 7);
	if (in->env->discover.level)
		r->flags |= RECORD_LEVEL_DETECTED;
}

int syslog_take(struct syslog_input *in, const struct origin *from, struct str message,
	uint64_t length, struct error *e)
{
	struct str fields[N_FIELDS] = {0}, host, app;
	struct syslog_message m;
	struct record r = {0};
	struct outlet *o;
	struct outlet_stream *st;
	char number[24];
	int code;

	syslog_decode(&m, message, in->observed_ns, zone_now(in));
	if (in->s->port.token && (code = check_token(in, from->session, m.data, e)) < 0)
		return code;
	name_stream(in, from, &m, &host, &app, fields);
	fields[FIELD_FACILITY] = str_c(syslog_facility(m.priority));
	fields[FIELD_SEVERITY] = str_c(syslog_severity(m.priority));
	fields[FIELD_MSGID] = m.message_id;
	fields[FIELD_PID] = m.process;
	fields[FIELD_SEQUENCE] = m.sequence;
	if (from->session)
		fields[FIELD_CERTIFICATE] = from->session->certificate;
	if (!m.has_time)
		fields[FIELD_TIME] = m.time;
	if (length != message.n) {
		r.flags |= RECORD_CUT;
		snprintf(number, sizeof number, "%" PRIu64, length);
		fields[FIELD_TRUNCATED] = length ? str_c(number) : STR("unknown");
		metric_add(METRIC_cut_records_total, "input=\"syslog\"", 1);
	}
	r.timestamp = m.has_time ? m.time_ns : in->observed_ns;
	r.flags |= m.has_time ? 0 : RECORD_TIME_OBSERVED;
	r.body = m.text;
	o = outlet_for(in, from);
	st = outlet_stream(o, (struct str[]){host, app});
	r.meta = syslog_meta(in, fields, m.data);
	set_level(in, &m, outlet_stream_labels(st), &r);
	outlet_add(o, st, &r);
	return 0;
}
