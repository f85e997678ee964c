// SPDX-License-Identifier: Apache-2.0
// The page: a client of the public API and nothing more.  Rates are the
// differences of /metrics between two looks, where outputs stand is in there too;
// alerts come from the rules API, lines from query_range and tail.  Log text reaches the document as text alone, never as HTML.
"use strict";

const $ = (id) => document.getElementById(id);
const LINES_MAX = 2000;
const POLL_MS = 1000;
const ALERTS_MS = 5000;
const ALERTS_MAX = 100;

// --- rates ---------------------------------------------------------------

function parseMetrics(text) {
	const families = new Map();
	for (const line of text.split("\n")) {
		const m = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
		if (!m)
			continue;
		const labels = {};
		for (const [, name, value] of (m[2] || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
			labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
		if (!families.has(m[1]))
			families.set(m[1], []);
		families.get(m[1]).push({ labels, value: Number(m[3]) });
	}
	return families;
}

const units = ["B", "KiB", "MiB", "GiB", "TiB"];
function bytes(n) {
	let u = 0;
	while (n >= 1024 && u < units.length - 1) {
		n /= 1024;
		u++;
	}
	return (n >= 100 || u === 0 ? Math.round(n) : n.toFixed(1)) + " " + units[u];
}

function cell(row, text, numeric) {
	const td = row.insertCell();
	td.textContent = text;
	if (numeric)
		td.className = "n";
	return td;
}

function link(text, query) {
	const b = document.createElement("button");
	b.type = "button";
	b.className = "link";
	b.textContent = text;
	b.addEventListener("click", () => {
		$("query").value = query;
		search();
	});
	return b;
}

const quoted = (s) => JSON.stringify(s);
let before = null; // {at, lines: Map, bytes: Map} of the look before

function showRates(families, at) {
	const look = { at, lines: new Map(), bytes: new Map() };
	const key = (l) => l.app + "\0" + l.input;
	for (const s of families.get("sawlog_app_records_total") || [])
		look.lines.set(key(s.labels), s);
	for (const s of families.get("sawlog_app_bytes_total") || [])
		look.bytes.set(key(s.labels), s);
	if (look.lines.size) {
		const body = document.createElement("tbody");
		const seconds = before ? (at - before.at) / 1000 : 0;
		const rate = (now, old, k) =>
			before && seconds > 0 ? Math.max(0, (now - (old.get(k)?.value || 0)) / seconds) : 0;
		const rows = [...look.lines].sort((a, b) => b[1].value - a[1].value).slice(0, 50);
		for (const [k, s] of rows) {
			const row = body.insertRow();
			const size = look.bytes.get(k)?.value || 0;
			cell(row, s.labels.app);
			cell(row, s.labels.input);
			cell(row, rate(s.value, before?.lines, k).toFixed(1), true);
			cell(row, bytes(rate(size, before?.bytes, k)), true);
			cell(row, s.value.toLocaleString("en"), true);
			if (s.labels.app !== "-")
				row.insertCell().append(link("show", `{service_name=${quoted(s.labels.app)}}`));
		}
		body.id = "rates";
		$("rates").replaceWith(body);
		showTries(rows.map(([, s]) => s.labels.app).filter((a) => a !== "-"));
	}
	before = look;
}

// --- alerts and outputs ---------------------------------------------------

// What is beyond LogQL in rules is shown by what it looks at.
const logql = (expr) => expr.replace(/^\s*new_template\((.*)\s*\[[^\]]*\][^\]]*\)\s*$/s, "$1");
const worst = ["firing", "pending", "failed", "incomplete", "silenced"];

// The alerts that are there and the rules that cannot be evaluated, the worst first.
function alertsOf(groups) {
	const rows = [];
	for (const rule of groups.flatMap((g) => g.rules)) {
		for (const a of rule.alerts || []) {
			const state = a.silenced && a.state === "firing" ? "silenced" : a.state;
			rows.push({ state, name: rule.name, query: rule.query, labels: a.labels, value: a.value, since: a.activeAt });
		}
		if (rule.lastError)
			rows.push({ state: rule.health === "err" ? "failed" : "incomplete", name: rule.name, query: rule.query,
				labels: {}, value: "", error: rule.lastError });
	}
	rows.sort((a, b) => worst.indexOf(a.state) - worst.indexOf(b.state));
	return rows;
}

function alertRow(body, a) {
	const row = body.insertRow();
	const labels = Object.entries(a.labels).filter(([k]) => k !== "alertname");
	cell(row, a.state).className = a.state === "firing" || a.state === "failed" ? "error" : "warn";
	cell(row, a.name);
	cell(row, a.error || labels.map(([k, v]) => `${k}=${quoted(v)}`).join(" "));
	cell(row, a.value === "" ? "" : String(Number(a.value)), true);
	cell(row, a.since ? new Date(a.since).toISOString().slice(0, 19).replace("T", " ") : "").className = "when";
	row.insertCell().append(link("show", logql(a.query)));
}

function showAlerts(groups) {
	const rules = groups.flatMap((g) => g.rules).length;
	const rows = alertsOf(groups);
	const count = (state) => rows.filter((r) => r.state === state).length;
	const body = document.createElement("tbody");
	for (const a of rows.slice(0, ALERTS_MAX))
		alertRow(body, a);
	if (rows.length > ALERTS_MAX)
		cell(body.insertRow(), `and ${rows.length - ALERTS_MAX} more`).colSpan = 6;
	body.id = "firing";
	$("firing").replaceWith(body);
	$("alerts").hidden = rows.length === 0;
	const said = worst.filter(count).map((s) => `${count(s)} ${s}`).join(", ");
	$("alarm").textContent = said ? `alerts: ${said}` : "no alerts";
	$("alarm").className = count("firing") || count("failed") ? "bad" : "";
	$("alarm").hidden = rules === 0;
}

async function pollAlerts() {
	try {
		const answer = await fetch("/prometheus/api/v1/rules?type=alert");
		if (answer.ok)
			showAlerts((await answer.json()).data.groups);
	} catch {
		// look() says that the server is away
	}
	setTimeout(pollAlerts, ALERTS_MS);
}

// What a router hands its servers; it keeps no records of its own.
const routed = (families) => families.get("sawlog_route_records_total") || [];

// Outputs, notifications and a router's servers stand in /metrics: a token that may read sees them.
function showTargets(families) {
	const rows = [];
	const find = (family, label, name) =>
		(families.get(family) || []).find((s) => s.labels[label] === name)?.value || 0;
	for (const { labels } of families.get("sawlog_output_lag_records") || []) {
		const of = (family) => find("sawlog_output_" + family, "output", labels.output);
		rows.push([labels.output, "output", of("delivered_records_total"), of("lag_records"), of("failures_total"),
			of("skipped_records_total") + of("missed_records_total") + of("unroutable_total")]);
	}
	for (const { labels } of families.get("sawlog_notifications_waiting") || []) {
		const of = (family) => find("sawlog_" + family, "notifier", labels.notifier);
		rows.push([labels.notifier, "notifications", of("notifications_total"), of("notifications_waiting"),
			of("notification_failures_total"), of("notifications_skipped_total")]);
	}
	for (const { labels, value } of routed(families)) {
		const of = (family) => find("sawlog_route_" + family, "server", labels.server);
		rows.push([labels.server, of("connected") ? "server" : "server, away", value,
			bytes(of("buffer_bytes") + of("memory_bytes")), of("failures_total"), of("refused_records_total")]);
	}
	const body = document.createElement("tbody");
	for (const [name, kind, ...counts] of rows) {
		const row = body.insertRow();
		cell(row, name);
		cell(row, kind);
		for (const n of counts)
			cell(row, n.toLocaleString("en"), true);
	}
	body.id = "going";
	$("going").replaceWith(body);
	$("targets").hidden = rows.length === 0;
}

let triesShown = "";
function showTries(apps) {
	const app = apps[0] || "app";
	if (app === triesShown)
		return;
	triesShown = app;
	const queries = [
		`{service_name=${quoted(app)}}`,
		`{} |= "error"`,
		"{} |~ `(?i)fail|denied`",
		"sum by (service_name) (count_over_time({}[5m]))",
	];
	$("tries").replaceChildren(...queries.flatMap((q) => [link(q, q), " "]));
}

function state(text, bad) {
	$("state").textContent = text;
	$("state").className = bad ? "bad" : "";
}

async function look() {
	const [health, metrics] = await Promise.all([fetch("/healthz"), fetch("/metrics")]);
	const h = await health.json();
	const text = await metrics.text();
	if (!metrics.ok) {
		state(`${metrics.status}: ${text.trim()}`, true); // a token that was revoked
		return;
	}
	const families = parseMetrics(text);
	const one = (name) => families.get(name)?.[0]?.value || 0;
	const onDisk = one("sawlog_part_bytes") + one("sawlog_journal_bytes");
	const to = routed(families);
	const records = to.length
		? `router, ${to.reduce((n, s) => n + s.value, 0).toLocaleString("en")} records handed on`
		: `${one("sawlog_sequence").toLocaleString("en")} records`;
	$("arriving").hidden = to.length > 0;
	state(h.healthy
		? `${h.version} on ${h.host} · ${records} · ` +
			`${bytes(onDisk)} on disk · durability ${h.durability}`
		: `refusing records: ${h.reason}`, !h.healthy);
	showRates(families, performance.now());
	showTargets(families);
}

async function poll() {
	try {
		await look();
	} catch {
		state("the server does not answer", true);
	}
	setTimeout(poll, POLL_MS);
}

// --- search and follow ----------------------------------------------------

const apiPath = (path, params) => path + "?" + new URLSearchParams(params);

function problem(text) {
	$("problem").textContent = text;
	$("problem").hidden = !text;
}

// The time is a link to the record, whose number is its own for good.
function lineElement(labels, ns, text, seq) {
	const div = document.createElement("div");
	const time = document.createElement("time");
	const when = new Date(Number(BigInt(ns) / 1000000n));
	time.dateTime = when.toISOString();
	const shown = when.toISOString().replace("T", " ").replace("Z", "");
	if (seq) {
		const a = document.createElement("a");
		a.href = "#record=" + seq;
		a.textContent = shown;
		a.title = `record ${seq}`;
		time.append(a);
	} else {
		time.textContent = shown;
	}
	const app = document.createElement("span");
	app.className = "app";
	app.textContent = labels.app || labels.service_name || "";
	app.title = Object.entries(labels).map(([k, v]) => `${k}=${v}`).join("\n");
	const span = document.createElement("span");
	span.textContent = text;
	span.className = labels.detected_level || "";
	div.append(time, app, span);
	return div;
}

function flatten(streams) {
	return streams.flatMap((s) => s.values.map(([ns, line, more]) => ({ labels: s.stream, ns, line, seq: more?.seq ?? 0 })));
}

function showMatrix(result) {
	const rows = result.map((s) => {
		const points = s.values || [s.value];
		const total = points.reduce((sum, [, v]) => sum + Number(v), 0);
		const div = document.createElement("div");
		const name = Object.entries(s.metric).map(([k, v]) => `${k}=${quoted(v)}`).join(", ");
		div.textContent = `{${name}}  last ${points[points.length - 1][1]}  mean ${(total / points.length).toFixed(2)}`;
		return div;
	});
	$("lines").replaceChildren(...(rows.length ? rows : ["no series"]));
}

async function search() {
	unfollow();
	problem("");
	const query = $("query").value, since = $("since").value;
	$("command").textContent = `sawlog query --since ${since} '${query.replaceAll("'", "'\\''")}'`;
	const answer = await fetch(apiPath("/loki/api/v1/query_range", { query, since, limit: 500, sequence: true, align: "end" }));
	if (!answer.ok) {
		problem(await answer.text());
		return;
	}
	const { data, warnings } = await answer.json();
	if (warnings)
		problem(warnings.join("\n"));
	if (data.resultType !== "streams") {
		showMatrix(data.result);
		return;
	}
	const rows = flatten(data.result);
	rows.sort((a, b) => (BigInt(b.ns) > BigInt(a.ns) ? 1 : BigInt(b.ns) < BigInt(a.ns) ? -1 : b.seq - a.seq));
	$("lines").replaceChildren(
		...(rows.length ? rows.map((r) => lineElement(r.labels, r.ns, r.line, r.seq)) : ["no lines in this time"]));
}

// #record=SEQ shows a record among its neighbours of the same stream.
async function showRecord(seq) {
	unfollow();
	problem("");
	$("command").textContent = `sawlog query --record ${seq} --context 20`;
	const answer = await fetch(apiPath("/api/v1/record/" + seq, { context: 20 }));
	if (!answer.ok) {
		problem(await answer.text());
		return;
	}
	const { data } = await answer.json();
	const element = (r) => lineElement({ ...r.labels, ...r.metadata }, r.time, r.line, r.seq);
	const it = element(data.record);
	it.className = "chosen";
	$("lines").replaceChildren(...data.before.map(element), it, ...data.after.map(element));
	it.scrollIntoView({ block: "nearest" });
}

// True when the address names a record, or a query as links of notifications do.
function openAddress() {
	const m = /^#(?:record=([0-9]+)|query=(.*))$/.exec(location.hash);
	if (!m)
		return false;
	if (m[1]) {
		showRecord(m[1]);
		return true;
	}
	try {
		$("query").value = logql(decodeURIComponent(m[2]));
	} catch {
		return false; // a link that was cut
	}
	search();
	return true;
}

let socket = null, cursor = null, again = null;

function unfollow() {
	clearTimeout(again);
	const old = socket;
	socket = null;
	old?.close();
	$("follow").setAttribute("aria-pressed", "false");
}

// History joined to live comes from the server; after a break the cursor of
// the last frame makes it go on without gap or duplicate.
function follow() {
	const params = { query: $("query").value, limit: 100 };
	if (cursor)
		params.cursor = cursor;
	else
		$("lines").replaceChildren();
	const mine = new WebSocket(apiPath(location.origin.replace(/^http/, "ws") + "/loki/api/v1/tail", params));
	socket = mine;
	$("follow").setAttribute("aria-pressed", "true");
	$("command").textContent = `sawlog tail '${params.query.replaceAll("'", "'\\''")}'`;
	mine.onmessage = (event) => {
		if (socket !== mine)
			return;
		const frame = JSON.parse(event.data);
		cursor = frame.sawlog?.cursor || cursor;
		const box = $("lines");
		for (const r of flatten(frame.streams || []))
			box.prepend(lineElement(r.labels, r.ns, r.line, r.seq));
		while (box.childNodes.length > LINES_MAX)
			box.lastChild.remove();
	};
	mine.onclose = () => {
		if (socket !== mine)
			return;
		problem("the tail was cut off, trying again…");
		again = setTimeout(() => socket === mine && follow(), 1000 + Math.random() * 1000);
	};
	mine.onopen = () => problem("");
}

$("search").addEventListener("submit", (event) => {
	event.preventDefault();
	if (location.hash)
		history.replaceState(null, "", location.pathname + location.search);
	search();
});
$("follow").addEventListener("click", () => {
	if (socket) {
		unfollow();
		return;
	}
	cursor = null;
	problem("");
	follow();
});
$("query").value = "{}";
$("send").textContent = `echo hello | sawlog emit loki=${location.origin}`;
showTries([]);
poll();
pollAlerts();
window.addEventListener("hashchange", openAddress);
if (!openAddress())
	search();
