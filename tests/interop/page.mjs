// SPDX-License-Identifier: Apache-2.0
// node page.mjs URL PICTURE: looks at the page as a person does, in Chromium.
// Prints what it saw as JSON.
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
page.on("dialog", (d) => { problems.push(`dialog: ${d.message()}`); d.dismiss(); });
await page.goto(url);
const seen = {};
await page.waitForFunction(() => document.querySelectorAll("#rates tr").length >= 2);
seen.rates = await page.locator("#rates").innerText();
seen.state = await page.locator("#state").innerText();
await page.fill("#query", '{app="shop"} |= "order"');
await page.click("#search button:not(#follow)");
await page.waitForFunction(() => document.querySelectorAll("#lines div").length > 0);
seen.found = await page.locator("#lines").innerText();
await page.fill("#query", '{app="evil"}');
await page.click("#search button:not(#follow)");
await page.waitForFunction(() => document.querySelector("#lines").innerText.includes("img"));
seen.evil = await page.locator("#lines").innerText();
seen.images = await page.locator("#lines img, #lines script").count();
await page.fill("#query", '{app="shop"');
await page.click("#search button:not(#follow)");
await page.waitForSelector("#problem:not([hidden])");
seen.problem = await page.locator("#problem").innerText();
problems.length = 0; // the browser notes the 400 it was told to provoke
await page.fill("#query", '{app="shop"}');
await page.click("#follow");
await page.waitForFunction(() => document.querySelectorAll("#lines div").length >= 3);
await fetch(`${url}/loki/api/v1/push`, {
	method: "POST", headers: { "Content-Type": "application/json" },
	body: JSON.stringify({ streams: [{ stream: { app: "shop" }, values: [[`${Date.now()}000000`, "live from the test"]] }] }),
});
await page.waitForFunction(() => document.querySelector("#lines").innerText.includes("live from the test"));
seen.live = true;
await page.click("#search button:not(#follow)");
await page.waitForTimeout(1200);
if (picture)
	await page.screenshot({ path: picture });
seen.problems = problems;
console.log(JSON.stringify(seen));
await browser.close();
