// SPDX-License-Identifier: Apache-2.0
// node amqplib.mjs URL N: N messages of amqplib's through the exchange, confirmed by the broker.
import amqp from "amqplib";

const [url, n] = process.argv.slice(2);
const connection = await amqp.connect(url);
const channel = await connection.createConfirmChannel();
await channel.assertExchange("logs_exchange", "topic", { durable: false });
const severities = ["Error", "Info", "Debug", "Warn"];
for (let i = 0; i < Number(n); i++) {
	const severity = severities[i % 4];
	const body = i % 2 ? JSON.stringify({ level: severity, message: `object ${i}`, tags: ["a"] })
		: `2024-12-18 10:00:00 Node Service ${severity} text ${i}`;
	channel.publish("logs_exchange", `Node Service.${severity}`, Buffer.from(body), {
		persistent: true, messageId: `node-${i}`, appId: "node", timestamp: 1700000000 + i,
		contentType: i % 2 ? "application/json" : undefined, headers: { n: i, big: 2 ** 40, "x-y": "ünïcode" },
	});
}
await channel.waitForConfirms();
await connection.close();
