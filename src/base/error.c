/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return code;
	va_start(ap, fmt);
	e->code = code;
	vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	return code;
}

int error_errno(struct error *e, int number, const char *fmt, ...)
{
	int code = number == ENOSPC || number == EDQUOT ? ERR_FULL
		   : number == ENOENT                   ? ERR_NOT_FOUND
							: ERR_IO;
	char reason[128];
	va_list ap;
	size_t n;

	if (!e)
		return code;
	va_start(ap, fmt);
	e->code = code;
	vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	snprintf(
		e->text + n, sizeof e->text - n, ": %s", strerror_r(number, reason, sizeof reason));
	return code;
}

int error_wrap(struct error *e, int code, const char *fmt, ...)
{
	char inner[sizeof e->text];
	va_list ap;
	size_t n;

	if (!e)
		return code;
	memcpy(inner, e->text, sizeof inner);
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	snprintf(e->text + n, sizeof e->text - n, ": %s", inner);
	e->code = code;
	return code;
}

const char *error_name(int code)
{
	switch ((enum error_code)code) {
	case ERR_ARG: return "bad_request";
	case ERR_LIMIT: return "over_limit";
	case ERR_IO: return "io_error";
	case ERR_FULL: return "disk_full";
	case ERR_CORRUPT: return "corrupt";
	case ERR_NOT_FOUND: return "not_found";
	case ERR_EXISTS: return "exists";
	case ERR_BUSY: return "busy";
	case ERR_GAP: return "gap";
	case ERR_CLOSED: return "closed";
	case ERR_TIMEOUT: return "timeout";
	case ERR_UNSUPPORTED: return "unsupported";
	case ERR_NET: return "network";
	case ERR_DENIED: return "denied";
	case ERR_CANCELLED: return "cancelled";
	}
	return "unknown";
}
