// Logging in with the official JavaScript SDK, unmodified, against the real binary and a real database.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { EventSource } from "eventsource";
import PocketBase from "pocketbase";
import { Database, PASSWORD, Server, inbox } from "./support.mjs";

// Node 20 has none of its own.
globalThis.EventSource = EventSource;

let server;
let database;
let clients = [];

before(async () => {
  server = await Server.start({ ROWCAST_LOGIN_RATE: "off" });
  database = await Database.connect();
});
after(async () => {
  await database?.close();
  await server?.stop();
});
afterEach(async () => {
  for (const client of clients) await client.realtime.unsubscribe();
  clients = [];
});

function connect(url = server.url) {
  const client = new PocketBase(url);
  clients.push(client);
  return client;
}

/** A client of somebody who is logged in. */
async function logIn(members, who) {
  const client = connect();
  const { record, token } = await client.collection(members).authWithPassword(`${who}@example.com`, PASSWORD);
  assert.deepEqual([record.id, record.email, record.collectionName], [who, `${who}@example.com`, members]);
  assert.equal("password_hash" in record, false);
  assert.equal(client.authStore.isValid, true);
  assert.equal(client.authStore.token, token);
  return client;
}

const ids = (changes) => changes.map(({ record }) => record.id);

test("a record logs in by password and sees its own rows only", async () => {
  const { members, posts } = await database.site();
  const methods = await connect().collection(members).listAuthMethods();
  assert.deepEqual(methods.password, { enabled: true, identityFields: ["email"] });
  await assert.rejects(connect().collection(members).authWithPassword("anna@example.com", "wrong"), { status: 400 });
  const streams = {};
  for (const who of ["anna", "ben", null]) {
    const client = who ? await logIn(members, who) : connect();
    const [all, one] = [inbox(), inbox()];
    await client.collection(posts).subscribe("*", all);
    await client.collection(posts).subscribe("a1", one);
    streams[who] = { all, one };
  }
  const { anna, ben, null: guest } = streams;
  await database.sql(`insert into ${posts} values ('a1', 'x', 'anna'), ('b1', 'x', 'ben'), ('n1', 'x', ''), ('a2', 'x', 'anna')`);
  assert.deepEqual(ids(await anna.all.take(2)), ["a1", "a2"]);
  assert.deepEqual(ids(await anna.one.take()), ["a1"]);
  assert.deepEqual(ids(await ben.all.take()), ["b1"]);
  // A row that changes hands is its new owner's.
  await database.sql(`update ${posts} set author = 'ben' where id = 'a1'; delete from ${posts} where id = 'a2'`);
  assert.deepEqual(ids(await ben.all.take()), ["a1"]);
  assert.deepEqual(ids(await ben.one.take()), ["a1"]);
  assert.deepEqual(ids(await anna.all.take()), ["a2"]);
  // Whose author is empty is not a guest's, whose id is empty too: that is what the rule says.
  assert.deepEqual(ids(await guest.all.take()), ["n1"]);
  assert.deepEqual([anna.one.seen, guest.one.seen], [[], []]);
});

test("authRefresh gives a newer token, and the stream stays its owner's", async () => {
  const { members, posts } = await database.site();
  const client = await logIn(members, "anna");
  const seen = inbox();
  await client.collection(posts).subscribe("*", seen);
  const { record, token } = await client.collection(members).authRefresh();
  assert.equal(record.id, "anna");
  assert.equal(client.authStore.token, token);
  await client.collection(posts).subscribe("a2", inbox());
  await database.sql(`insert into ${posts} values ('a1', 'x', 'anna')`);
  assert.deepEqual(ids(await seen.take()), ["a1"]);
  await database.sql(`update ${members} set password_hash = password_hash || 'x'`);
  await assert.rejects(client.collection(members).authRefresh(), { status: 401 });
  await database.sql(`insert into ${posts} values ('a2', 'x', 'anna'), ('n1', 'x', '')`);
  assert.deepEqual(ids(await seen.take()), ["n1"], "a guest's stream by now");
});

test("who loses a role hears no more of what the role opened", async () => {
  const { members, posts, plans } = await database.site();
  const role = `('g', '${members}/anna', 'role:editor')`;
  await database.sql(`insert into rowcast.casbin_rule (ptype, v0, v1) values ${role}`);
  const client = await logIn(members, "anna");
  const [ofPosts, ofPlans] = [inbox(), inbox()];
  await client.collection(posts).subscribe("*", ofPosts);
  await client.collection(plans).subscribe("*", ofPlans);
  await database.sql(`insert into ${plans} values ('p1', 'x')`);
  assert.deepEqual(ids(await ofPlans.take()), ["p1"]);
  await database.sql(`delete from rowcast.casbin_rule where (ptype, v0, v1) = ${role}`);
  await database.sql(`insert into ${plans} values ('p2', 'x'); delete from ${plans}; insert into ${posts} values ('a1', 'x', 'anna')`);
  // Events come in the order of the log, so the last one marks the end.
  assert.deepEqual(ids(await ofPosts.take()), ["a1"]);
  assert.deepEqual(ofPlans.seen, []);
  await database.sql(`insert into rowcast.casbin_rule (ptype, v0, v1) values ${role}; insert into ${plans} values ('p3', 'x')`);
  assert.deepEqual(ids(await ofPlans.take()), ["p3"]);
});
