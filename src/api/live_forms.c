/* SPDX-License-Identifier: Apache-2.0 */
/* The forms of live answers, by name. */
#include "api/live.h"

static const struct live_form *const forms[] = {&live_loki};

const struct live_form *live_form_find(struct str name)
{
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
		if (str_eq_c(name, forms[i]->name))
			return forms[i];
	return NULL;
}
