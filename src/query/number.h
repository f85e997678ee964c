/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Numbers as Go's strconv and time, and the humanised byte sizes, write them:
 * what label filters compare, unwrap converts and templates compute with.
 * Sources: pkg.go.dev/strconv, pkg.go.dev/time#ParseDuration,
 * pkg.go.dev/github.com/dustin/go-humanize (documentation).  Pure; any thread.
 */
#include "base/buf.h"

/* strconv.ParseFloat(s, 64): decimal, hexadecimal with p, _ only where Go takes it, inf, nan. */
bool number_float(struct str s, double *out);
/* strconv.ParseInt(s, base, 64); base 0 takes 0x, 0o, 0b and _. */
bool number_int(struct str s, int base, int64_t *out);
/* time.ParseDuration: "1h30m", "-1.5ms", "1us", "1µs"; in ns.  duration_format writes them. */
bool number_duration(struct str s, int64_t *ns);
/* humanize.ParseBytes: "20MB" = 20,000,000, "20MiB", "20 kb", "1.5GB"; no sign. */
bool number_bytes(struct str s, uint64_t *out);
/* strconv.FormatFloat(v, 'f', -1, 64), and with 'g' as %v prints it. */
void number_put_f(struct buf *out, double v);
void number_put_g(struct buf *out, double v);

/* Why a text that the function above refused is no such number, in Go's words, in
 * out[NUMBER_WHY_MAX]; returns out. */
enum { NUMBER_WHY_MAX = 320 };
const char *number_float_why(struct str s, char *out);
const char *number_duration_why(struct str s, char *out);
const char *number_bytes_why(struct str s, char *out);
