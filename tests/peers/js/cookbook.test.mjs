// The JavaScript of docs/cookbook.md, as it stands there, with npm's SDK; and the SQL beside it.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { EventSource } from "eventsource";
import PocketBase from "pocketbase";
import { Database, Server, eventually, inbox } from "./support.mjs";

globalThis.EventSource = EventSource;

let server;
let database;
let page;
/** Whose streams are to end with the tests. */
const clients = [];

before(async () => {
  page = await readFile(process.env.PEERS_COOKBOOK, "utf8");
  server = await Server.start();
  database = await Database.connect();
});
after(async () => {
  await Promise.all(clients.map((client) => client.realtime.unsubscribe()));
  await database?.close();
  await server?.stop();
});

/** The first block of a kind in a recipe. */
function block(recipe, kind) {
  const text = page.split(`\n## ${recipe}\n`)[1].split("\n## ")[0];
  return text.split(`\`\`\`${kind}\n`)[1].split("\n```")[0];
}

/** Runs a block with a client of its own; what it shows. */
async function run(source) {
  const shown = inbox();
  const program = new Function("pb", "show", `return (async () => {${source}})();`);
  await program(client(), shown);
  return shown;
}

function client() {
  const pb = new PocketBase(server.url);
  clients.push(pb);
  return pb;
}

test("a custom event reaches who has subscribed", async () => {
  const shown = await run(block("Custom event", "js"));
  await database.sql(block("Custom event", "sql"));
  assert.deepEqual(await shown.take(), [42]);
});

test("a client says which room it is in, and hears that room", async () => {
  await database.sql(block("Client state", "sql"));
  // The policy comes by the log, like everything.
  let own;
  await eventually(async () => {
    own = await run(block("Client state", "js"));
    return true;
  });
  const other = inbox();
  await client().realtime.subscribe("chat", ({ text }) => other(text));
  await database.sql(block("By room", "sql"));
  await database.sql(`select rowcast.send('chat', '{"text": "all"}')`);
  assert.deepEqual(await own.take(2), ["tea is ready", "all"]);
  assert.deepEqual(await other.take(), ["all"]);
});
