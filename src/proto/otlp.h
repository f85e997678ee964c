/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Logs as OpenTelemetry sends them: ExportLogsServiceRequest, in protobuf or in
 * JSON, which is turned into protobuf first.
 *
 * Some attributes of the resource become labels, with _ for other letters
 * (service.name: service_name); the body becomes the line, JSON when it is no
 * text; all else metadata, nested attributes joined by _.  As Loki maps them,
 * see doc/input/otlp.md.
 *
 * Sources: opentelemetry-proto 1.x (logs/v1/logs.proto, common/v1/common.proto),
 * OTLP specification, "JSON Protobuf Encoding"; Loki's documentation,
 * "Ingesting logs to Loki using OpenTelemetry Collector: format considerations".
 * Pure: any thread.
 */
#include "proto/lokipush.h"

enum {
	OTLP_DEPTH_MAX = 32, /* values inside values */
	/* Bytes of resource and scope, once for each record: 64 times the body, but within these.
	 * More than the larger never fits into a batch. */
	OTLP_WORK_MIN = 16 << 20,
	OTLP_WORK_MAX = 256 << 20,
};

/* Append the request that `body` is in JSON, at most twice as many bytes.  ERR_ARG: bad JSON, or a
 * member of the wrong type, which the sentence names; ERR_LIMIT, ERR_BUSY as json_parse. */
int otlp_from_json(struct json_parser *parser, struct str body, struct buf *out, struct error *e);

/* Can all of this protobuf be read, and how many records has it?  ERR_ARG with the byte where it
 * makes no sense; ERR_LIMIT: OTLP_WORK_MAX. */
int otlp_check(struct str body, size_t *n_records, struct error *e);
/* What so many records take in a batch and its builder, texts apart: to be charged before. */
uint64_t otlp_rows_bytes(size_t n_records);
/* Then add what was checked.  A record that is refused costs itself: see `report`. */
void otlp_add(struct str body, const struct push_options *o, struct batch_builder *into,
	struct push_report *report);

/* Append the ExportLogsServiceResponse in protobuf: empty when none was refused, else with a
 * partial success and `why` of the first, cut and made valid UTF-8. */
void otlp_put_response(struct buf *out, uint64_t n_refused, struct str why);
/* The same for a sentence as any string of protobuf. */
void otlp_put_sentence(struct buf *out, uint32_t number, struct str s);
