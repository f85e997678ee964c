/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `tls` of outputs that connect: whose certificates are taken, and which one is shown.  Fixed once
 * loaded: any thread. */
#include "conf/option.h"

struct client_tls_settings {
	const char *ca, *cert, *key;
	bool insecure;
};

extern const struct option client_tls_options[]; /* for OPT_OBJECT rows */

/* ERR_ARG: a certificate without its key, or the other way round. */
int client_tls_check(const struct client_tls_settings *s, struct error *e);
