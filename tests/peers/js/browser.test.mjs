// Chromium: the live page that the binary serves, and a page of another origin.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { DEADLINE_MS, Database, PASSWORD, Server, superuserToken } from "./support.mjs";

// Nothing of the browser's own business leaves the machine.
const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // Chromium's sandbox does not work for root.
  ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
];

let server;
let database;
let profile;
let browser;

before(async () => {
  server = await Server.start();
  database = await Database.connect();
  profile = await mkdtemp(join(tmpdir(), "rowcast-chromium-"));
  browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.PEERS_CHROMIUM,
    headless: true,
    args: FLAGS,
    viewport: { width: 1200, height: 800 },
  });
  browser.setDefaultTimeout(DEADLINE_MS);
});
after(async () => {
  await browser?.close();
  if (profile) await rm(profile, { recursive: true, force: true });
  await database?.close();
  await server?.stop();
});

/** A new page; what goes wrong in it is collected. */
async function open(url) {
  const page = await browser.newPage();
  page.troubles = [];
  page.on("pageerror", (error) => page.troubles.push(String(error)));
  page.on("console", (message) => message.type() === "error" && page.troubles.push(message.text()));
  await page.goto(url);
  return page;
}

/** A page of another origin with nothing but the SDK, and how to close its server. */
async function openElsewhere() {
  const sdk = await readFile(new URL("node_modules/pocketbase/dist/pocketbase.umd.js", import.meta.url));
  const elsewhere = createServer((request, response) => {
    const isScript = request.url === "/pocketbase.umd.js";
    response.setHeader("Content-Type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? sdk : '<!doctype html><link rel="icon" href="data:,"><script src="pocketbase.umd.js"></script>');
  });
  elsewhere.listen(0, "127.0.0.1");
  await once(elsewhere, "listening");
  const page = await open(`http://127.0.0.1:${elsewhere.address().port}/`);
  return [page, () => elsewhere.close()];
}

/** Waits until the newest events are these: actions and names, newest first. */
async function showsNewest(page, expected) {
  const read = () => page.locator("#events summary").evaluateAll((rows) =>
    rows.map((row) => [row.querySelector(".action").textContent, row.querySelector(".name").textContent]));
  await page.locator("#events li").nth(expected.length - 1).waitFor();
  assert.deepEqual((await read()).slice(0, expected.length), expected);
}

test("the live page shows changes of all public collections as they come", async () => {
  const [posts, locked] = [await database.collection(), await database.collection("list_rule => null")];
  const page = await open(`${server.url}/_/`);
  await page.locator('#state[data-state="connected"]').waitFor();
  await database.sql(`insert into ${locked} values ('l', 'locked'); insert into ${posts} values ('a', 'Good morning', 1)`);
  await database.sql(`update ${posts} set title = 'Good evening'; delete from ${posts}`);
  await showsNewest(page, [["delete", `${posts}/a`], ["update", `${posts}/a`], ["create", `${posts}/a`]]);
  await page.locator("#events summary").first().click();
  await page.locator("#events pre").first().waitFor();
  assert.match(await page.locator("#events pre").first().textContent(), /"title": "Good evening"/);
  await page.screenshot({ path: "live-page.png" });
  assert.deepEqual(page.troubles, []);
  await page.close();
});

test("on the live page a superuser's token opens locked collections", async () => {
  const locked = await database.collection("list_rule => null");
  const page = await open(`${server.url}/_/#topic=${locked}`);
  await page.locator('#state[data-state="connected"]').waitFor();
  await page.locator("#token").fill(await superuserToken("page@example.com"));
  const sent = page.waitForResponse((response) => response.request().method() === "POST" && response.status() === 204
    && response.request().headers().authorization && response.request().postData().includes(locked));
  await page.locator("button[type=submit]").click();
  await sent;
  await database.sql(`insert into ${locked} values ('l', 'locked')`);
  await showsNewest(page, [["create", `${locked}/l`]]);
  assert.match(await page.locator("#events .json").first().textContent(), /"secret":"hush"/);
  assert.deepEqual(page.troubles, []);
  await page.close();
});

test("the live page comes back by itself after the server was gone", async () => {
  const posts = await database.collection();
  const own = await Server.start();
  const page = await open(`${own.url}/_/`);
  await page.locator('#state[data-state="connected"]').waitFor();
  await own.stop("SIGKILL");
  await page.locator('#state[data-state="disconnected"]').waitFor();
  await own.startAgain();
  await page.locator('#state[data-state="connected"]').waitFor();
  await database.sql(`insert into ${posts} values ('b', 'back')`);
  await showsNewest(page, [["create", `${posts}/b`]]);
  await page.close();
  await own.stop();
});

test("a page of another origin may use the SDK, with a token", async () => {
  const posts = await database.collection("list_rule => null");
  const [page, close] = await openElsewhere();
  await page.evaluate(async ([url, token, collection]) => {
    const client = new PocketBase(url);
    client.authStore.save(token);
    window.heard = [];
    await client.collection(collection).subscribe("*", ({ action, record }) => window.heard.push([action, record.id]));
  }, [server.url, await superuserToken("elsewhere@example.com"), posts]);
  await database.sql(`insert into ${posts} values ('a', 'x'); delete from ${posts}`);
  await page.waitForFunction(() => window.heard.length >= 2);
  assert.deepEqual(await page.evaluate(() => window.heard), [["create", "a"], ["delete", "a"]]);
  assert.deepEqual(page.troubles, []);
  await page.close();
  close();
});

test("a page of another origin logs in with the SDK and sees its own rows only", async () => {
  const { members, posts } = await database.site();
  const [page, close] = await openElsewhere();
  const who = await page.evaluate(async ([url, members, posts, password]) => {
    const client = new PocketBase(url);
    await client.collection(members).authWithPassword("anna@example.com", password);
    window.heard = [];
    await client.collection(posts).subscribe("*", ({ action, record }) => window.heard.push([action, record.id]));
    const { record } = await client.collection(members).authRefresh();
    return record.id;
  }, [server.url, members, posts, PASSWORD]);
  assert.equal(who, "anna");
  await database.sql(`insert into ${posts} values ('b1', 'x', 'ben'), ('a1', 'x', 'anna'); delete from ${posts}`);
  await page.waitForFunction(() => window.heard.length >= 2);
  assert.deepEqual(await page.evaluate(() => window.heard), [["create", "a1"], ["delete", "a1"]]);
  assert.deepEqual(page.troubles, []);
  await page.close();
  close();
});

test("Chromium's own EventSource comes back by itself after the server was killed and misses nothing", async () => {
  const posts = await database.collection();
  const own = await Server.start();
  const page = await browser.newPage();
  await page.goto(`${own.url}/_/`);
  await page.evaluate((posts) => {
    window.told = [];
    const source = new EventSource(`/api/realtime?subscriptions=${posts}/*`);
    source.addEventListener(`${posts}/*`, (event) => window.told.push(JSON.parse(event.data).record.id));
    return new Promise((resolve) => source.addEventListener("PB_CONNECT", resolve, { once: true }));
  }, posts);
  await database.sql(`insert into ${posts} values ('a', 'before')`);
  await page.waitForFunction(() => window.told.length === 1);
  await own.stop("SIGKILL");
  await database.sql(`do $$ begin for i in 1..500 loop insert into ${posts} values ('m' || i, 'missed', i); commit; end loop; end $$`);
  await own.startAgain();
  await page.waitForFunction(() => window.told.length >= 501);
  const missed = Array.from({ length: 500 }, (_, place) => `m${place + 1}`);
  assert.deepEqual(await page.evaluate(() => window.told), ["a", ...missed]);
  await page.close();
  await own.stop();
});
