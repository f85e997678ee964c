/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `alert silence`: nobody is told of some alerts for a while.  One thread, as all commands. */
#include "cli/command.h"

extern const struct command command_alert_silence;
