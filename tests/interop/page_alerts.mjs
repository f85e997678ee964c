// SPDX-License-Identifier: Apache-2.0
// node page_alerts.mjs URL EXPRESSION PICTURE: the page of a server with alerts and outputs, in Chromium.
// Prints what it saw as JSON.
import { chromium } from "playwright-core";

const [url, expression, picture] = process.argv.slice(2);
const browser = await chromium.launch({
	executablePath: "/usr/bin/chromium",
	args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync"],
});
const page = await browser.newPage({ viewport: { width: 1100, height: 800 } });
const problems = [];
page.on("pageerror", (e) => problems.push(String(e)));
page.on("console", (m) => m.type() === "error" && problems.push(m.text()));
page.on("dialog", (d) => { problems.push(`dialog: ${d.message()}`); d.dismiss(); });
const seen = {};
// As a link of a notification has it.
await page.goto(`${url}/#query=${encodeURIComponent(expression)}`);
await page.waitForFunction(() => document.querySelector("#lines").innerText !== "");
seen.linked = [await page.inputValue("#query"), await page.locator("#lines").innerText()];
await page.waitForSelector("#alarm:not([hidden])");
await page.waitForFunction(() => document.querySelectorAll("#firing tr").length >= 3);
seen.alarm = [await page.locator("#alarm").innerText(), await page.locator("#alarm").getAttribute("class")];
seen.alerts = await page.locator("#firing tr").allInnerTexts();
seen.images = await page.locator("#firing img").count();
await page.waitForSelector("#targets:not([hidden])");
seen.targets = await page.locator("#going tr").allInnerTexts();
await page.fill("#query", "");
await page.click("#firing tr:first-child button");
seen.shown = await page.inputValue("#query");
if (picture)
	await page.screenshot({ path: picture });
seen.problems = problems;
console.log(JSON.stringify(seen));
await browser.close();
