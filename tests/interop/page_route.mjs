// SPDX-License-Identifier: Apache-2.0
// node page_route.mjs URL PICTURE: the page of a router, in Chromium.  Prints what it saw as JSON.
import { chromium } from "playwright-core";

const [url, picture] = process.argv.slice(2);
const browser = await chromium.launch({
	executablePath: "/usr/bin/chromium",
	args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync"],
});
const page = await browser.newPage({ viewport: { width: 1100, height: 800 } });
const problems = [];
page.on("pageerror", (e) => problems.push(String(e)));
page.on("console", (m) => m.type() === "error" && problems.push(m.text()));
const seen = {};
await page.goto(url);
await page.waitForSelector("#targets:not([hidden])");
seen.targets = await page.locator("#going tr").allInnerTexts();
seen.state = await page.locator("#state").innerText();
seen.arriving = await page.locator("#arriving").isVisible();
await page.waitForFunction(() => document.querySelector("#lines").innerText !== "");
seen.lines = await page.locator("#lines").innerText();
if (picture)
	await page.screenshot({ path: picture });
seen.problems = problems;
console.log(JSON.stringify(seen));
await browser.close();
