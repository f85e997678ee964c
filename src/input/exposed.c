/* SPDX-License-Identifier: Apache-2.0 */
#include "input/exposed.h"

#include <stdio.h>

#include "net/loopback.h"

bool exposed_loopback(const char *address)
{
	struct str rest = str_c(address), scheme = STR_NONE;
	ptrdiff_t at = str_find(rest, STR("://"));

	if (at >= 0) {
		scheme = str_sub(rest, 0, (size_t)at);
		rest = str_sub(rest, (size_t)at + 3, rest.n);
	}
	return str_starts(scheme, STR("unix")) || loopback_host_port(str_cut(&rest, '/'));
}

bool exposed_allowed(const char *address, const struct strings *insecure_allow)
{
	if (exposed_loopback(address))
		return true;
	for (size_t i = 0; i < insecure_allow->n; i++)
		if (!strcmp(insecure_allow->items[i], address))
			return true;
	return false;
}

struct look {
	const struct strings *allow;
	const char *kind;
	void (*tell)(void *arg, const char *sentence);
	void *arg;
};

static void look_at_address(void *arg, const char *address, bool guarded)
{
	const struct look *l = arg;
	char sentence[800];

	if (guarded || exposed_allowed(address, l->allow))
		return;
	snprintf(sentence, sizeof sentence,
		"inputs.%s: %.200s takes records from anyone beyond this machine who reaches it: "
		"let it ask for certificates or tokens over TLS where it can, or listen on "
		"127.0.0.1, or name %.200s in insecure_allow",
		l->kind, address, address);
	l->tell(l->arg, sentence);
}

void exposed_inputs(const struct kinds *inputs, const struct strings *insecure_allow,
	void (*tell)(void *arg, const char *sentence), void *arg)
{
	struct look l = {.allow = insecure_allow, .tell = tell, .arg = arg};

	for (size_t i = 0; i < inputs->n; i++) {
		const struct input_type *type = inputs->items[i].type;

		l.kind = inputs->items[i].kind;
		if (type->listens)
			type->listens(inputs->items[i].settings, look_at_address, &l);
	}
}
