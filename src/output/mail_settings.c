/* SPDX-License-Identifier: Apache-2.0 */
#include "output/mail_settings.h"

#include "output/mail.h"

int mail_settings_check(const struct mail_settings *s, struct error *e)
{
	int r;

	if (s->to.n == 0)
		return error_set(e, ERR_ARG, "to: name at least one recipient");
	for (size_t i = 0; i < s->to.n; i++)
		if ((r = mail_check_mailbox(str_c(s->to.items[i]), e)) < 0)
			return error_wrap(e, r, "to");
	if (!s->user != !s->password_file)
		return error_set(e, ERR_ARG, "%s is missing: user and password_file come together",
			s->user ? "password_file" : "user");
	return 0;
}

struct smtp_options mail_settings_smtp(const struct mail_settings *s)
{
	return (struct smtp_options){
		.url = s->smtp, .user = s->user, .password_file = s->password_file, .ca = s->ca};
}
