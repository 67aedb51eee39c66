// The official JavaScript SDK, unmodified, against the real binary and a real database.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { EventSource } from "eventsource";
import PocketBase from "pocketbase";
import { Database, Server, Wire, eventually, inbox, superuserToken } from "./support.mjs";

/** The names of all events on all streams, as they stood on the wire, whoever listens. */
const onTheWire = [];

/** Node 20 has no EventSource of its own; this one also looks at what passes. */
globalThis.EventSource = class extends EventSource {
  dispatchEvent(event) {
    onTheWire.push(event.type);
    return super.dispatchEvent(event);
  }
};

let server;
let database;
let clients = [];

before(async () => {
  server = await Server.start();
  database = await Database.connect();
});
after(async () => {
  await database?.close();
  await server?.stop();
});
afterEach(async () => {
  for (const client of clients) await client.realtime.unsubscribe();
  clients = [];
  onTheWire.length = 0;
});

function connect(url = server.url) {
  const client = new PocketBase(url);
  clients.push(client);
  return client;
}

/** Action, id and title of changes. */
function summary(changes) {
  return changes.map(({ action, record }) => [action, record.id, record.title]);
}

test("create, update and delete reach a subscription to the collection", async () => {
  const posts = await database.collection();
  const seen = inbox();
  await connect().collection(posts).subscribe("*", seen);
  await database.sql(`insert into ${posts} values ('a', 'one', 1)`);
  await database.sql(`update ${posts} set title = 'two'`);
  await database.sql(`delete from ${posts}`);
  const changes = await seen.take(3);
  assert.deepEqual(summary(changes), [["create", "a", "one"], ["update", "a", "two"], ["delete", "a", "two"]]);
  for (const { record } of changes) {
    assert.deepEqual(Object.keys(record).sort(), ["collectionId", "collectionName", "id", "n", "title"]);
    assert.equal(record.collectionName, posts);
  }
});

test("a subscription to one record hears of that record only", async () => {
  const posts = await database.collection();
  const seen = inbox();
  await connect().collection(posts).subscribe("b", seen);
  await database.sql(`insert into ${posts} (id, title) values ('a', 'other'), ('b', 'one'), ('c', 'other')`);
  await database.sql(`update ${posts} set title = 'two' where id <> 'a'`);
  await database.sql(`delete from ${posts}`);
  assert.deepEqual(summary(await seen.take(3)), [["create", "b", "one"], ["update", "b", "two"], ["delete", "b", "two"]]);
  assert.deepEqual(seen.seen, []);
});

test("a transaction of 1,000 rows arrives whole and in order", async () => {
  const posts = await database.collection();
  const seen = inbox();
  await connect().collection(posts).subscribe("*", seen);
  await database.sql("begin");
  await database.sql(`insert into ${posts} select i::text, 'bulk', i from generate_series(1, 500) i`);
  for (let n = 501; n <= 1000; n += 1) await database.sql(`insert into ${posts} values ('${n}', 'single', ${n})`);
  await database.sql("commit");
  const changes = await seen.take(1000);
  assert.deepEqual(changes.map(({ record }) => record.n), Array.from({ length: 1000 }, (_, i) => i + 1));
});

test("what is rolled back is never seen", async () => {
  const posts = await database.collection();
  const seen = inbox();
  await connect().collection(posts).subscribe("*", seen);
  await database.sql(`begin; insert into ${posts} values ('a', 'rolled back'); rollback`);
  await database.sql(`insert into ${posts} values ('b', 'kept')`);
  assert.deepEqual(summary(await seen.take()), [["create", "b", "kept"]]);
});

test("the wildcard topic hears of every collection that is public", async () => {
  const [one, two, locked] = [await database.collection(), await database.collection(), await database.collection("list_rule => null")];
  const seen = inbox();
  await connect().realtime.subscribe("*", seen);
  await database.sql(`insert into ${locked} values ('l', 'locked'); insert into ${one} values ('a', 'x'); insert into ${two} values ('b', 'y')`);
  const changes = await seen.take(2);
  assert.deepEqual(changes.map(({ record }) => record.collectionName), [one, two]);
});

test("unsubscribing from a topic, by prefix and from everything ends the events on the wire", async () => {
  const [one, two] = [await database.collection(), await database.collection()];
  const client = connect();
  const [all, single, other, last] = [inbox(), inbox(), inbox(), inbox()];
  await client.collection(one).subscribe("*", all);
  await client.collection(one).subscribe("a", single);
  await client.collection(two).subscribe("*", other);
  await client.collection(two).subscribe("z", last);
  const change = () => database.sql(`insert into ${one} values ('a', 'x'); delete from ${one};
                                     insert into ${two} values ('z', 'x'); delete from ${two}`);
  const wire = () => onTheWire.filter((name) => name.startsWith("posts_")).sort();
  const twice = (...topics) => topics.flatMap((topic) => [topic, topic]);

  await change();
  for (const seen of [all, single, other, last]) await seen.take(2);
  assert.deepEqual(wire(), twice(`${one}/*`, `${one}/a`, `${two}/*`, `${two}/z`));

  // Events come in the order of the log, so the last change marks the end of the round.
  onTheWire.length = 0;
  await client.collection(one).unsubscribe("*");
  await change();
  for (const seen of [single, other, last]) await seen.take(2);
  assert.deepEqual(wire(), twice(`${one}/a`, `${two}/*`, `${two}/z`));

  onTheWire.length = 0;
  await client.collection(one).unsubscribe();
  await client.realtime.unsubscribeByPrefix(`${two}/z`);
  await change();
  await other.take(2);
  assert.deepEqual(wire(), twice(`${two}/*`));
  assert.deepEqual([all.seen, single.seen, other.seen, last.seen], [[], [], [], []]);

  const left = inbox();
  client.realtime.onDisconnect = left;
  await client.realtime.unsubscribe();
  assert.deepEqual(await left.take(), [[]]);
  assert.equal(client.realtime.isConnected, false);
  await eventually(async () => (await server.metric("subscribers")) === 0 || "still a subscriber");
});

test("the function that subscribe returns unsubscribes that listener only", async () => {
  const posts = await database.collection();
  const client = connect();
  const [first, second] = [inbox(), inbox()];
  const stop = await client.collection(posts).subscribe("*", first);
  await client.collection(posts).subscribe("*", second);
  await stop();
  await database.sql(`insert into ${posts} values ('a', 'x')`);
  await second.take();
  assert.deepEqual(first.seen, []);
});

test("a topic with options is kept, and its event bears its name to the letter", async () => {
  const posts = await database.collection();
  const [plain, withOptions] = [inbox(), inbox()];
  const client = connect();
  await client.collection(posts).subscribe("*", plain);
  await client.collection(posts).subscribe("*", withOptions, { fields: "id,title", headers: { "x-token": "ä b+c" } });
  await database.sql(`insert into ${posts} values ('a', 'x')`);
  const [change] = await withOptions.take();
  assert.deepEqual([change.record.id, change.record.title], ["a", "x"]);
  await plain.take();
  const options = encodeURIComponent(JSON.stringify({ query: { fields: "id,title" }, headers: { "x-token": "ä b+c" } }));
  assert.deepEqual(
    onTheWire.filter((name) => name.startsWith("posts_")).sort(),
    [`${posts}/*`, `${posts}/*?options=${options}`],
  );
});

test("expand brings related records and fields picks from them", async () => {
  await database.sql(`create table authors (id text primary key, name text, secret text);
    create table articles (id text primary key, title text, author text references authors);
    create table comments (id text primary key, post text references articles, note text);
    select rowcast.attach('authors', view_rule => '', hidden => array['secret']);
    select rowcast.attach('articles', name => 'posts', list_rule => '', view_rule => '');
    select rowcast.attach('comments', view_rule => 'note != "private"');
    insert into authors values ('ann', 'Ann', 'hush')`);
  const [all, picked] = [inbox(), inbox()];
  const client = connect();
  const expand = "author,comments_via_post";
  await client.collection("posts").subscribe("*", all, { expand });
  await client.collection("posts").subscribe("*", picked, { expand, fields: "id,expand.author.name" });
  await database.sql(`begin; insert into articles values ('a', 'x', 'ann');
    insert into comments values ('c', 'a', 'open'), ('d', 'a', 'private'); commit`);
  const [{ record }] = await all.take();
  assert.equal(record.expand.author.name, "Ann");
  assert.equal("secret" in record.expand.author, false);
  assert.deepEqual(record.expand.comments_via_post.map(({ id }) => id), ["c"]);
  assert.deepEqual((await picked.take())[0].record, { id: "a", expand: { author: { name: "Ann" } } });
});

test("PB_CONNECT reaches its listener with the client id", async () => {
  const client = connect();
  const connected = inbox();
  await client.realtime.subscribe("PB_CONNECT", connected);
  assert.deepEqual(await connected.take(), [{ clientId: client.realtime.clientId }]);
  assert.match(client.realtime.clientId, /^[A-Za-z0-9]{40}$/);
});

test("a superuser sees hidden columns and locked collections, a guest neither", async () => {
  const posts = await database.collection();
  const locked = await database.collection("list_rule => null");
  const guest = connect();
  const superuser = connect();
  superuser.authStore.save(await superuserToken("root@example.com"));
  const [public1, public2, locked1, locked2] = [inbox(), inbox(), inbox(), inbox()];
  await guest.collection(posts).subscribe("*", public1);
  await guest.collection(locked).subscribe("*", locked1);
  await superuser.collection(posts).subscribe("*", public2);
  await superuser.collection(locked).subscribe("*", locked2);
  await database.sql(`insert into ${locked} values ('l', 'locked'); insert into ${posts} values ('a', 'x')`);
  assert.equal((await locked2.take())[0].record.secret, "hush");
  assert.equal((await public2.take())[0].record.secret, "hush");
  assert.equal("secret" in (await public1.take())[0].record, false);
  assert.deepEqual(locked1.seen, []);
});

test("a stream that belongs to one principal refuses another with 403", async () => {
  const posts = await database.collection();
  const client = connect();
  const seen = inbox();
  client.authStore.save(await superuserToken("one@example.com"));
  await client.collection(posts).subscribe("*", seen);
  client.authStore.save(await superuserToken("two@example.com"));
  await assert.rejects(client.collection(posts).subscribe("a", inbox()), (error) => {
    assert.equal(error.status, 403);
    assert.equal(error.response.message, "The current and the previous request authorization don't match.");
    return true;
  });
  // The refusal leaves the subscriptions as they were.
  await database.sql(`insert into ${posts} values ('a', 'x')`);
  assert.deepEqual(summary(await seen.take()), [["create", "a", "x"]]);
});

test("with leave and snapshot a list is the table as its client may see it, from the first event on", async () => {
  const posts = await database.collection("list_rule => 'n > 0'");
  await database.sql(`insert into ${posts} values ('b', 'two', 2), ('a', 'one', 1), ('z', 'zero', 0)`);
  const seen = inbox();
  await connect().collection(posts).subscribe("*", seen, { query: { snapshot: "1", leave: "1" }, fields: "id,title" });
  const [first, second, ready] = await seen.take(3);
  assert.deepEqual([first, second].map(({ action, record }) => [action, record.id]), [["snapshot", "a"], ["snapshot", "b"]]);
  assert.deepEqual([ready.action, ready.count, ready.record.collectionName], ["ready", 2, posts]);
  await database.sql(`update ${posts} set n = 0 where id = 'a'`);
  await database.sql(`update ${posts} set n = 9 where id = 'z'`);
  await database.sql(`update ${posts} set n = 8, secret = 'other' where id = 'z'`);
  await database.sql(`delete from ${posts}`);
  const changes = (await seen.take(5)).map(({ action, record }) => [action, record.id]);
  // The deleted one that was out of sight tells nothing.
  assert.deepEqual(changes.slice(0, 3), [["leave", "a"], ["create", "z"], ["update", "z"]]);
  assert.deepEqual(changes.slice(3).sort(), [["delete", "b"], ["delete", "z"]]);
});

test("a collection attached while a subscription waits for it starts to flow", async () => {
  const later = `posts_later_${process.pid}`;
  const seen = inbox();
  await connect().collection(later).subscribe("*", seen);
  await database.sql(`create table ${later} (id text primary key, title text);
                      select rowcast.attach('${later}', list_rule => '');
                      insert into ${later} values ('a', 'x')`);
  assert.deepEqual(summary(await seen.take()), [["create", "a", "x"]]);
});

for (const [signal, code] of [["SIGKILL", null], ["SIGTERM", 0]]) {
  test(`after ${signal} and a new start the SDK comes back by itself and events flow again`, async () => {
    const posts = await database.collection();
    const own = await Server.start();
    const client = connect(own.url);
    const [seen, connected, disconnected] = [inbox(), inbox(), inbox()];
    client.realtime.onDisconnect = disconnected;
    await client.realtime.subscribe("PB_CONNECT", connected);
    await client.collection(posts).subscribe("*", seen);
    const [{ clientId }] = await connected.take();
    await database.sql(`insert into ${posts} values ('a', 'before')`);
    assert.deepEqual(summary(await seen.take()), [["create", "a", "before"]]);

    assert.equal(await own.stop(signal), code);
    assert.deepEqual((await disconnected.take())[0].sort(), ["PB_CONNECT", `${posts}/*`]);
    await own.startAgain();
    assert.notEqual((await connected.take())[0].clientId, clientId);
    await database.sql(`insert into ${posts} values ('b', 'after')`);
    assert.deepEqual(summary(await seen.take()), [["create", "b", "after"]]);
    await client.realtime.unsubscribe();
    await own.stop();
  });
}

/** What 500 statements insert while nobody serves. */
async function insertMany(posts) {
  await database.sql(`do $$ begin for i in 1..500 loop insert into ${posts} values ('m' || i, 'missed', i); commit; end loop; end $$`);
}

const missed = Array.from({ length: 500 }, (_, place) => `m${place + 1}`);

for (const signal of ["SIGKILL", "SIGTERM"]) {
  test(`with a resume key the SDK misses none of 500 changes made between ${signal} and a new start`, async () => {
    const posts = await database.collection();
    const own = await Server.start();
    const client = connect(own.url);
    const seen = inbox();
    const noted = (await database.sql("select from rowcast.resume_points")).rowCount;
    const query = { resume: `key-of-this-page-${signal}` };
    await client.collection(posts).subscribe("*", seen, { query });
    await database.sql(`insert into ${posts} values ('a', 'before')`);
    assert.deepEqual(summary(await seen.take()), [["create", "a", "before"]]);
    // Noted when it subscribed, within moments.
    await eventually(async () => {
      const { rows } = await database.sql("select count(*)::int from rowcast.resume_points");
      return rows[0].count > noted || rows[0].count;
    });

    await own.stop(signal);
    await insertMany(posts);
    await own.startAgain();
    // What was told shortly before is told again.
    assert.deepEqual(summary(await seen.take()), [["create", "a", "before"]]);
    const changes = await seen.take(500);
    assert.deepEqual(changes.map(({ record }) => record.id), missed);
    await database.sql(`insert into ${posts} values ('b', 'after')`);
    assert.deepEqual(summary(await seen.take()), [["create", "b", "after"]]);
    await client.realtime.unsubscribe();
    await own.stop();
  });
}

test("with a resume key the SDK misses none of 500 changes made while its connection was cut", async () => {
  const posts = await database.collection();
  const wire = await Wire.to(server.url);
  const client = connect(wire.url);
  const seen = inbox();
  await client.collection(posts).subscribe("*", seen, { query: { resume: "key-of-this-page-cut" } });
  await database.sql(`insert into ${posts} values ('a', 'before')`);
  assert.deepEqual(summary(await seen.take()), [["create", "a", "before"]]);
  await wire.cut();
  await insertMany(posts);
  await wire.mend();
  // What was told shortly before is told again.
  assert.deepEqual(summary(await seen.take()), [["create", "a", "before"]]);
  const changes = await seen.take(500);
  assert.deepEqual(changes.map(({ record }) => record.id), missed);
  await database.sql(`insert into ${posts} values ('b', 'after')`);
  assert.deepEqual(summary(await seen.take()), [["create", "b", "after"]]);
  await client.realtime.unsubscribe();
  await wire.cut();
});

test("an EventSource that names its subscriptions comes back by itself and misses nothing", async () => {
  const posts = await database.collection();
  const own = await Server.start();
  const seen = inbox();
  const source = new EventSource(`${own.url}/api/realtime?subscriptions=${posts}/*`);
  source.addEventListener(`${posts}/*`, (event) => seen(JSON.parse(event.data).record.id));
  await new Promise((resolve) => source.addEventListener("PB_CONNECT", resolve, { once: true }));
  await database.sql(`insert into ${posts} values ('a', 'before')`);
  assert.deepEqual(await seen.take(), ["a"]);
  await own.stop("SIGKILL");
  await insertMany(posts);
  await own.startAgain();
  assert.deepEqual(await seen.take(500), missed);
  source.close();
  await own.stop();
});

test("messages reach a subscription to a topic of the application's own", async () => {
  const [plain, keyed] = [inbox(), inbox()];
  const client = connect();
  await client.realtime.subscribe("chat", plain);
  await client.realtime.subscribe("chat", keyed, { query: { resume: "0123456789abcdef" } });
  await database.sql(`begin; select rowcast.send('chat', '{"text": "rolled back"}'); rollback`);
  await database.sql(`select rowcast.send('chat', '{"text": "from SQL\\nin two lines"}')`);
  const token = await superuserToken("root@example.com");
  const sent = await fetch(`${server.url}/api/realtime/send`, {
    method: "POST",
    headers: { Authorization: token, "Content-Type": "application/json" },
    body: JSON.stringify({ topic: "chat", data: ["over", "HTTP"] }),
  });
  assert.equal(sent.status, 204, await sent.text());
  for (const seen of [plain, keyed]) {
    assert.deepEqual(await seen.take(2), [{ text: "from SQL\nin two lines" }, ["over", "HTTP"]]);
  }
});
