// Chromium: the page of examples/htmx-chat, with htmx and its extension as npm has them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { open } from "./chromium.mjs";

const site = process.env.PEERS_SITE_URL;

async function enter() {
  const listed = (response) => response.url().endsWith("/lines") && response.request().method() === "GET";
  const page = await open("about:blank");
  await Promise.all([page.waitForResponse(listed), page.goto(site)]);
  return page;
}

async function say(page, author, body) {
  await page.locator("[name=author]").fill(author);
  await page.locator("[name=body]").fill(body);
  await page.locator("form button").click();
}

const said = (page) => page.locator("li b").evaluateAll((names) => names.map((name) =>
  `${name.textContent}${name.nextSibling.textContent.trim()}`));

test("what is said is heard by all, taken back for all, and there for who comes later", async () => {
  const [ann, ben] = [await enter(), await enter()];
  await say(ann, "Ann", "<i>Hello</i>");
  await ben.locator("#lines li", { hasText: "Hello" }).waitFor();
  // The template of a message, told with the row.
  await ben.locator("#latest", { hasText: "Ann has spoken last." }).waitFor();
  await ann.waitForFunction(() => document.querySelector("[name=body]").value === "");
  await say(ben, "Ben", "Oops");
  await ann.locator("#lines li", { hasText: "Oops" }).waitFor();
  const late = await enter();
  await late.locator("#earlier li", { hasText: "Oops" }).waitFor();
  for (const page of [ann, ben, late]) {
    assert.deepEqual(await said(page), ["Ann: <i>Hello</i>", "Ben: Oops"]);
  }
  await late.locator("li", { hasText: "Oops" }).getByRole("button").click();
  for (const page of [ann, ben, late]) {
    await page.locator("li", { hasText: "Oops" }).waitFor({ state: "detached" });
    assert.deepEqual(await said(page), ["Ann: <i>Hello</i>"]);
    assert.deepEqual(page.troubles, []);
    // A browser has six connections to one site, and each page holds one.
    await page.close();
  }
});

test("no script of the page is its own", async () => {
  const page = await enter();
  const scripts = await page.locator("script").evaluateAll((all) => all.map((one) => [one.src, one.textContent]));
  assert.deepEqual(scripts, [[`${site}/htmx.js`, ""], [`${site}/sse.js`, ""]]);
  await page.close();
});

// PocketPages' own extension is not in the npm registry. This one does what its manual says: it opens a stream,
// subscribes to what stands in sse-swap, reads each event's data as JSON, also that of PB_CONNECT, and swaps it in.
const POCKETBASE_SSE = () => htmx.defineExtension("pocketbase-sse", {
  onEvent(name, { detail }) {
    const element = detail?.elt;
    const topics = name === "htmx:afterProcessNode" && element.getAttribute("sse-swap")?.split(",");
    if (!topics) return;
    const source = new EventSource("/api/realtime");
    source.addEventListener("PB_CONNECT", async ({ data }) => {
      const body = JSON.stringify({ clientId: JSON.parse(data).clientId, subscriptions: topics });
      await fetch("/api/realtime", { method: "POST", headers: { "Content-Type": "application/json" }, body });
      element.dataset.state = "connected";
    });
    for (const topic of topics) {
      source.addEventListener(topic, ({ data }) => htmx.swap(element, JSON.parse(data), { swapStyle: "beforeend" }));
    }
  },
});

test("an extension that reads JSON shows the same fragments", async () => {
  const page = await enter();
  await page.evaluate(POCKETBASE_SSE);
  const topic = `lines/*?options=${encodeURIComponent('{"query":{"html":"1"}}')}`;
  await page.evaluate((topic) => {
    const list = document.createElement("ul");
    list.id = "own";
    list.setAttribute("hx-ext", "pocketbase-sse");
    list.setAttribute("sse-swap", `latest,${topic}`);
    document.body.append(list);
    htmx.process(list);
  }, topic);
  await page.locator('#own[data-state="connected"]').waitFor({ state: "attached" });
  await say(page, "Ann", "Twice");
  await page.locator("#own li", { hasText: "Ann: Twice" }).waitFor();
  await page.locator("#own", { hasText: "Ann has spoken last." }).waitFor();
  assert.deepEqual(page.troubles, []);
});
