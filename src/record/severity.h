/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Severity: the number of the OpenTelemetry logs data model (1-24, 0 unknown)
 * and its names.  Pure functions.
 */
#include <stdint.h>

#include "base/str.h"

enum severity {
	SEV_UNKNOWN = 0,
	SEV_TRACE = 1,
	SEV_DEBUG = 5,
	SEV_INFO = 9,
	SEV_WARN = 13,
	SEV_ERROR = 17,
	SEV_FATAL = 21
};

/* A level's word in any usual spelling ("WARNING", "err", "E", "crit", "notice"): 0 if none. */
uint8_t severity_from_word(struct str word);
/* syslog severity 0-7 (RFC 5424 table 2): emergency and alert are 24, critical 23, error 17,
 * warning 13, notice 10, informational 9, debug 5; others 0. */
uint8_t severity_from_syslog(unsigned priority);
/* The level a line tells of itself: a JSON or logfmt field level/severity/lvl, a word in the
 * usual places at the head of the line.  0 when it tells none. */
uint8_t severity_detect(struct str line);
/* Loki's detected_level for a number: "trace" "debug" "info" "warn" "error" "fatal"
 * (21-22) "critical" (23-24), "unknown" for 0. */
const char *severity_level(uint8_t severity);
