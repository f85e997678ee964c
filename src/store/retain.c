/* SPDX-License-Identifier: Apache-2.0 */
#include "store/retain.h"

#include "store/core.h"

struct visibility *store_visibility(struct store *s)
{
	struct visibility *v;

	lock_take(&s->retain_lock);
	v = visibility_ref(s->visibility);
	lock_drop(&s->retain_lock);
	return v;
}
