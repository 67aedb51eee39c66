// Chromium: the page of examples/embedded, an application that embeds the feed.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const DEADLINE_MS = 20_000;
const site = process.env.PEERS_EMBEDDED_URL;
// The program that started this one has gone when this ends.
process.stdin.resume().on("end", () => process.exit(1)).unref();

let profile;
let browser;

before(async () => {
  profile = await mkdtemp(join(tmpdir(), "rowcast-chromium-"));
  browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.PEERS_CHROMIUM,
    headless: true,
    args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", ...(process.getuid?.() === 0 ? ["--no-sandbox"] : [])],
  });
  browser.setDefaultTimeout(DEADLINE_MS);
});
after(async () => {
  await browser?.close();
  if (profile) await rm(profile, { recursive: true, force: true });
});

test("what one visitor puts up the other sees, with no more of the author than the hook shows", async () => {
  const pages = [];
  for (let n = 0; n < 2; n += 1) {
    const page = await browser.newPage();
    page.troubles = [];
    page.on("pageerror", (error) => page.troubles.push(String(error)));
    page.on("console", (message) => message.type() === "error" && page.troubles.push(message.text()));
    await page.goto(site);
    await page.locator('#state[data-state="connected"]').waitFor();
    pages.push(page);
  }
  const [writer, reader] = pages;
  await writer.locator("[name=body]").fill("<b>Bicycle</b> for sale");
  await writer.locator("[name=email]").fill("ann@example.com");
  await writer.locator("button").click();
  for (const page of pages) {
    await page.locator("#notices li").first().waitFor();
    assert.equal(await page.locator("#notices li").first().textContent(), "<b>Bicycle</b> for sale a…@example.com");
    assert.deepEqual(page.troubles, []);
  }
  assert.ok(!(await reader.content()).includes("ann@example.com"));
});
