/* SPDX-License-Identifier: Apache-2.0 */
#include "output/client_tls.h"

const struct option client_tls_options[] = {
	OPTION(struct client_tls_settings, ca, .kind = OPT_PATH,
		.help = "PEM file with the certificates that sign the target's. Default: the "
			"system's."),
	OPTION(struct client_tls_settings, cert, .kind = OPT_PATH,
		.help = "PEM file with the certificate that is shown to the target."),
	OPTION(struct client_tls_settings, key, .kind = OPT_PATH,
		.help = "PEM file with the key of `cert`."),
	OPTION(struct client_tls_settings, insecure, .kind = OPT_BOOL, .fallback = "false",
		.help = "Do not check the target's certificate: whoever is in between can read "
			"and change all."),
	OPTION_END,
};

int client_tls_check(const struct client_tls_settings *s, struct error *e)
{
	if (!s->cert == !s->key)
		return 0;
	return error_set(e, ERR_ARG, "tls: %s is missing: a certificate needs its key",
		s->cert ? "key" : "cert");
}
