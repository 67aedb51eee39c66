// Logging in with the official JavaScript SDK, unmodified, against the real binary and a real database.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { EventSource } from "eventsource";
import PocketBase from "pocketbase";
import { Issuer, newKey, tokenFor } from "./issuer.mjs";
import { Database, PASSWORD, Server, createSuperuser, eventually, inbox } from "./support.mjs";

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

test("a superuser logs in by password and sees locked collections", async () => {
  const { plans } = await database.site();
  await createSuperuser("root@example.com", PASSWORD);
  const client = connect();
  await assert.rejects(client.collection("_superusers").authWithPassword("root@example.com", "wrong"), { status: 400 });
  const { record } = await client.collection("_superusers").authWithPassword("root@example.com", PASSWORD);
  assert.deepEqual([record.email, record.collectionName, client.authStore.isSuperuser], ["root@example.com", "_superusers", true]);
  const seen = inbox();
  await client.collection(plans).subscribe("*", seen);
  await client.collection("_superusers").authRefresh();
  await client.collection(plans).subscribe("p1", inbox());
  await database.sql(`insert into ${plans} values ('p1', 'x')`);
  assert.deepEqual(ids(await seen.take()), ["p1"]);
});

test("an app with keys of its own needs no auth collection: own rows, roles, and rotated keys", async (t) => {
  const { posts, plans } = await database.site();
  const [one, two] = [newKey("one"), newKey("two")];
  const issuer = await Issuer.start(one);
  t.after(() => issuer.stop());
  const own = await Server.start(issuer.settings);
  t.after(() => own.stop());
  const role = "('g', '_external/anna', 'role:editor')";
  await database.sql(`insert into rowcast.casbin_rule (ptype, v0, v1) values ${role}`);
  const [anna, ben] = [connect(own.url), connect(own.url)];
  anna.authStore.save(tokenFor("anna", one));
  ben.authStore.save(tokenFor("ben", one, { roles: ["editor"] }));
  const [annas, bens, plansOfAnna, plansOfBen] = [inbox(), inbox(), inbox(), inbox()];
  await anna.collection(posts).subscribe("*", annas);
  await anna.collection(plans).subscribe("*", plansOfAnna);
  await ben.collection(posts).subscribe("*", bens);
  await ben.collection(plans).subscribe("*", plansOfBen);
  await database.sql(`insert into ${posts} values ('a1', 'x', 'anna'), ('b1', 'x', 'ben'); insert into ${plans} values ('p1', 'x')`);
  assert.deepEqual(ids(await annas.take()), ["a1"]);
  assert.deepEqual(ids(await bens.take()), ["b1"]);
  assert.deepEqual(ids(await plansOfAnna.take()), ["p1"], "a role of the policy");
  assert.deepEqual(ids(await plansOfBen.take()), ["p1"], "a role of the token");

  await database.sql(`delete from rowcast.casbin_rule where (ptype, v0, v1) = ${role}`);
  await database.sql(`insert into ${plans} values ('p2', 'x'); insert into ${posts} values ('a2', 'x', 'anna')`);
  assert.deepEqual(ids(await annas.take()), ["a2"]);
  assert.deepEqual(plansOfAnna.seen, []);
  assert.deepEqual(ids(await plansOfBen.take()), ["p2"]);

  // While the new key is unknown, its token is a guest's, and a guest may not touch anna's stream. The SDK
  // does not ask again about a topic that was refused, so each attempt names another.
  let attempt = 0;
  issuer.publish(one, two);
  anna.authStore.save(tokenFor("anna", two));
  await eventually(async () => {
    await anna.collection(posts).subscribe(`attempt${(attempt += 1)}`, inbox());
    return true;
  });
  await database.sql(`insert into ${posts} values ('a3', 'x', 'anna'), ('b3', 'x', 'ben')`);
  assert.deepEqual(ids(await annas.take()), ["a3"]);
  assert.ok(issuer.asked >= 2 && issuer.asked < 20, `asked ${issuer.asked} times`);
});

test("keys of each kind are believed for what they are, and nobody else's", async (t) => {
  const { posts } = await database.site();
  const keys = ["RS256", "ES256", "EdDSA"].map((alg) => newKey(alg, alg));
  const issuer = await Issuer.start(...keys);
  t.after(() => issuer.stop());
  const own = await Server.start(issuer.settings);
  t.after(() => own.stop());
  const heard = {};
  for (const key of keys) {
    const imposter = newKey(key.kid, key.alg);
    const tokens = { [`${key.alg}`]: tokenFor("anna", key), [`${key.alg} of another`]: tokenFor("anna", imposter) };
    for (const [name, token] of Object.entries(tokens)) {
      const client = connect(own.url);
      client.authStore.save(token);
      heard[name] = inbox();
      await client.collection(posts).subscribe("*", heard[name]);
    }
  }
  await database.sql(`insert into ${posts} values ('a1', 'x', 'anna'), ('n1', 'x', '')`);
  for (const [name, seen] of Object.entries(heard)) {
    const [change] = await seen.take();
    assert.equal(change.record.id, name.endsWith("of another") ? "n1" : "a1", name);
  }
});

test("an issuer that is not there stops nobody, and its tokens are a guest's", async (t) => {
  const { posts } = await database.site();
  const key = newKey("one");
  const issuer = await Issuer.start(key);
  const { settings } = issuer;
  issuer.stop();
  const own = await Server.start(settings);
  t.after(() => own.stop());
  const client = connect(own.url);
  client.authStore.save(tokenFor("anna", key));
  const seen = inbox();
  await client.collection(posts).subscribe("*", seen);
  await database.sql(`insert into ${posts} values ('a1', 'x', 'anna'), ('n1', 'x', '')`);
  assert.deepEqual(ids(await seen.take()), ["n1"]);
  assert.match(own.log, /could not fetch the key set; tokens of the other issuer are refused until it is there/);
});
