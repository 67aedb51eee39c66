// Chromium: the page of examples/chat, with the SDK as npm has it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { open } from "./chromium.mjs";

const site = process.env.PEERS_SITE_URL;

async function enter(room) {
  const page = await open(`${site}/?room=${room}`);
  await page.locator('#state[data-state="connected"]').waitFor();
  return page;
}

async function say(page, author, body) {
  await page.locator("[name=author]").fill(author);
  await page.locator("[name=body]").fill(body);
  await page.locator("button").click();
}

test("what is said in a room is heard in it at once, and by who comes later, and nowhere else", async () => {
  const [ann, ben, elsewhere] = [await enter("tea"), await enter("tea"), await enter("coffee")];
  await ann.locator("[name=author]").fill("Ann");
  await ann.locator("[name=body]").focus();
  await ben.locator("#typing", { hasText: "Ann is typing" }).waitFor();
  await say(ann, "Ann", "<b>Hello</b>");
  await ben.locator("#lines li", { hasText: "Hello" }).waitFor();
  await say(ben, "Ben", "Hi");
  await say(elsewhere, "Cleo", "Anybody?");
  await elsewhere.locator("#lines li").first().waitFor();
  const late = await enter("tea");
  for (const page of [ann, ben, late]) {
    await page.locator("#lines li", { hasText: "Ben: Hi" }).waitFor();
    assert.deepEqual(await page.locator("#lines li").allTextContents(), ["Ann: <b>Hello</b>", "Ben: Hi"]);
    assert.deepEqual(page.troubles, []);
  }
  assert.deepEqual(await elsewhere.locator("#lines li").allTextContents(), ["Cleo: Anybody?"]);
  assert.equal(await elsewhere.locator("#typing").textContent(), "");
});
