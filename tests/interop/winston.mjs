// SPDX-License-Identifier: Apache-2.0
// node winston.mjs URL N json|protobuf [tenant]: N lines through winston-loki, in batches.
import winston from "winston";
import LokiTransport from "winston-loki";

const [url, n, form] = process.argv.slice(2);
// Without it winston-loki would send JSON all the same.
if (form === "protobuf")
	await import("snappy");
const transport = new LokiTransport({
	host: url,
	json: form === "json",
	labels: { app: "winston", form },
	format: winston.format.json(),
	batching: true,
	interval: 1,
	gracefulShutdown: true,
	headers: { "X-Scope-OrgID": "winston" },
	onConnectionError: (e) => { console.error(String(e)); process.exitCode = 1; },
});
const logger = winston.createLogger({ level: "debug", transports: [transport] });
const levels = ["error", "warn", "info", "debug"];
for (let i = 0; i < Number(n); i++)
	logger.log(levels[i % 4], `message ${i} ünïcode "quoted"`, { i, labels: { part: i % 2 ? "odd" : "even" } });
await new Promise((done) => setTimeout(done, 500));
await transport.flush();
logger.close();
