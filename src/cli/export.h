/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `store export`: all records of a tenant, out of a server or out of a folder. */
#include "cli/command.h"

extern const struct command command_export;
