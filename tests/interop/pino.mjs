// SPDX-License-Identifier: Apache-2.0
// node pino.mjs URL N: N lines through pino-loki in its worker thread.
import pino from "pino";

const [url, n] = process.argv.slice(2);
const transport = pino.transport({
	target: "pino-loki",
	options: { batching: true, interval: 1, host: url, labels: { app: "pino" }, replaceTimestamp: false },
});
const logger = pino(transport);
for (let i = 0; i < Number(n); i++)
	logger[i % 2 ? "error" : "info"]({ i, user: "ünïcode" }, `message ${i}`);
logger.flush();
await new Promise((done) => setTimeout(done, 2500));
transport.end();
