/* SPDX-License-Identifier: Apache-2.0 */
#include "forward/progress.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/metric.h"
#include "conf/option.h"

static void show_line(struct progress *p, const struct uplink_stats *now, double seconds)
{
	struct buf line = {0};
	int64_t lag = metric_get(METRIC_forward_lag_bytes, "");

	buf_printf(&line, "%.0f lines/s  ",
		seconds > 0 ? (double)(now->records - p->last.records) / seconds : 0);
	size_format(&line,
		seconds > 0 ? (uint64_t)((double)(now->raw_bytes - p->last.raw_bytes) / seconds)
			    : 0);
	buf_printf(&line, "/s  %llu lines, ", (unsigned long long)now->records);
	size_format(&line, now->raw_bytes);
	buf_c(&line, " acknowledged  lag ");
	size_format(&line, lag > 0 ? (uint64_t)lag : 0);
	if (now->connected)
		buf_c(&line, "  connected");
	else if (now->last_error.code)
		buf_printf(&line, "  %s", now->last_error.text);
	else
		buf_c(&line, "  connecting");
	if (line.n > 160)
		line.n = 160;
	fprintf(stderr, "\r\033[K%s", buf_cstr(&line));
	fflush(stderr);
	buf_fini(&line);
}

static void log_changes(struct progress *p, const struct uplink_stats *now)
{
	const char *reason = now->last_error.text;

	if (now->connected && (!p->shown_any || !p->shown_connected)) {
		log_info("forward", "connected to %s", now->url[0] ? now->url : "the other side");
	} else if (!now->connected && now->last_error.code &&
		   (!p->shown_any || p->shown_connected || strcmp(reason, p->shown_reason) != 0)) {
		log_warn("forward", "not connected, lines wait: %s", reason);
		snprintf(p->shown_reason, sizeof(p->shown_reason), "%s", reason);
	} else {
		return;
	}
	p->shown_any = true;
	p->shown_connected = now->connected;
}

void progress_show(struct progress *p, const struct uplink_stats *now, int64_t mono_ns)
{
	if (p->tty)
		show_line(p, now, (double)(mono_ns - p->shown_mono) / 1e9);
	else
		log_changes(p, now);
	p->last = *now;
	p->shown_mono = mono_ns;
}

void progress_end(const struct progress *p)
{
	if (p->tty)
		fputc('\n', stderr);
}
