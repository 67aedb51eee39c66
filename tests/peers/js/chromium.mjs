// A Chromium of one file of tests, and pages that note what goes wrong in them.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { chromium } from "playwright-core";

const DEADLINE_MS = 20_000;

// Nothing of the browser's own business leaves the machine; its sandbox does not work for root.
const FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", ...(process.getuid?.() === 0 ? ["--no-sandbox"] : [])];

let profile;
let browser;

// The program that started this one has gone when this ends.
process.stdin.resume().on("end", () => process.exit(1)).unref();

before(async () => {
  profile = await mkdtemp(join(tmpdir(), "rowcast-chromium-"));
  browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.PEERS_CHROMIUM, headless: true, args: FLAGS,
  });
  browser.setDefaultTimeout(DEADLINE_MS);
});
after(async () => {
  await browser?.close();
  if (profile) await rm(profile, { recursive: true, force: true });
});

/** A new page; what goes wrong in it is collected. */
export async function open(url) {
  const page = await browser.newPage();
  page.troubles = [];
  page.on("pageerror", (error) => page.troubles.push(String(error)));
  page.on("console", (message) => message.type() === "error" && page.troubles.push(message.text()));
  await page.goto(url);
  return page;
}
