// SPDX-License-Identifier: Apache-2.0
// node page_auth.mjs URL TOKEN PUSH REVOKE: the page of a server with TLS and tokens, in Chromium.
// PUSH and REVOKE are commands: to send a line of {app="live"}, and to revoke TOKEN.
// Prints what it saw as JSON.
import { execSync } from "node:child_process";
import { chromium } from "playwright-core";

const [url, token, push, revoke] = process.argv.slice(2);
const browser = await chromium.launch({
	executablePath: "/usr/bin/chromium",
	args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync"],
});
const seen = {};

async function open(credentials) {
	const context = await browser.newContext({ ignoreHTTPSErrors: true, httpCredentials: credentials });
	const page = await context.newPage();
	page.on("response", (r) => seen.asks ??= r.headers()["www-authenticate"] || "");
	await page.goto(url).catch((e) => (seen.stranger = e.message));
	return page;
}

await open(undefined);
const page = await open({ username: "me", password: token });
await page.waitForFunction(() => document.querySelector("#state").innerText.includes("records"));
await page.fill("#query", '{app="live"}');
await page.click("#follow");
execSync(push, { stdio: "ignore" });
await page.waitForFunction(() => document.querySelector("#lines").innerText.includes("live over TLS"));
execSync(revoke, { stdio: "ignore" });
await page.waitForFunction(() => document.querySelector("#state").className === "bad");
await page.waitForFunction(() => document.querySelector("#problem").innerText !== "");
seen.revoked = await page.locator("#state").innerText();
seen.problem = await page.locator("#problem").innerText();
console.log(JSON.stringify(seen));
await browser.close();
