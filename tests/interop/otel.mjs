// SPDX-License-Identifier: Apache-2.0
// node otel.mjs URL N proto|json|grpc: N records through OpenTelemetry's SDK and its exporter over HTTP or gRPC.
import { SeverityNumber } from "@opentelemetry/api-logs";
import { OTLPLogExporter as Grpc } from "@opentelemetry/exporter-logs-otlp-grpc";
import { OTLPLogExporter as Json } from "@opentelemetry/exporter-logs-otlp-http";
import { OTLPLogExporter as Proto } from "@opentelemetry/exporter-logs-otlp-proto";
import { Resource } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";

const [url, n, form] = process.argv.slice(2);
const exporter =
	form === "grpc"
		? new Grpc({ url, compression: "gzip" })
		: new (form === "proto" ? Proto : Json)({ url: `${url}/v1/logs`, compression: "gzip" });
const results = [];
const send = exporter.export.bind(exporter);
exporter.export = (records, done) => send(records, (r) => (results.push(r.code), done(r)));
const provider = new LoggerProvider({
	resource: new Resource({ "service.name": `otel-${form}`, "service.namespace": "shop", "process.pid": 7 }),
});
provider.addLogRecordProcessor(new BatchLogRecordProcessor(exporter, { maxExportBatchSize: 100 }));
const logger = provider.getLogger("checkout", "1.2.3");
for (let i = 0; i < Number(n); i++)
	logger.emit({
		severityNumber: i % 2 ? SeverityNumber.ERROR2 : SeverityNumber.INFO,
		severityText: i % 2 ? "ERROR" : "INFO",
		body: i % 10 === 9 ? { order: i, items: ["ü", 1.5, true, null] } : `order ${i} ünïcode`,
		attributes: { "http.status": 200 + i, user: { name: "x", roles: ["a", "b"] }, ok: true, rate: 0.5 },
	});
await provider.shutdown();
if (results.some((code) => code !== 0)) throw new Error(`export: ${results}`);
console.log(results.length);
