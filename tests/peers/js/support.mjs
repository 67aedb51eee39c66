// What the tests of clients share: the real binary, a database connection, and waiting.

import { spawn, execFile } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import pg from "pg";

/** Long enough for a busy machine; nothing that works ever waits this long. */
export const DEADLINE_MS = 20_000;

/** What people of `Database.site()` log in with, and its bcrypt hash at the lowest cost. */
export const PASSWORD = "correct horse";
const PASSWORD_HASH = "$2b$04$4Sz1wKlPKSB8UhOiQbHROe3MNoJYWdDnX66A/x8L/UlkJHyh8A08u";

const BINARY = needed("PEERS_BINARY");
const DATABASE_URL = needed("PEERS_DATABASE_URL");

function needed(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; run these tests through: cargo test --test it peers`);
  return value;
}

// Whoever started us holds the other end: however that ends, nothing of ours stays behind.
process.stdin.resume().on("end", () => process.exit(1)).unref();
const children = new Set();
process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));
process.on("SIGTERM", () => process.exit(1));

/** The environment without settings of whoever runs the tests. */
function environment(settings) {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("ROWCAST_") && !name.startsWith("PG") && name !== "DATABASE_URL",
  );
  return {
    ...Object.fromEntries(inherited),
    ROWCAST_DATABASE_URL: DATABASE_URL,
    ROWCAST_BELL: "on",
    ROWCAST_LOG_FORMAT: "json",
    ...settings,
  };
}

/** `rowcast serve`, as a process. */
export class Server {
  /** Where it listens, such as http://127.0.0.1:8090. */
  url = "";
  #child;
  #log = [];
  #settings;

  constructor(settings) {
    this.#settings = settings;
  }

  /** Starts on a free port with these variables set and waits until changes flow. */
  static async start(settings = {}) {
    const server = new Server(settings);
    await server.#launch("127.0.0.1:0");
    return server;
  }

  /** Starts again where it listened before. */
  async startAgain() {
    await this.#launch(new URL(this.url).host);
  }

  /** Sends a signal, waits for the end, and returns the exit code; null if the signal killed it. */
  async stop(signal = "SIGTERM") {
    const child = this.#child;
    const ended = once(child, "exit");
    child.kill(signal);
    const [code] = await within(ended, `the server to end after ${signal}`, () => this.#log);
    children.delete(child);
    return code;
  }

  /** What it has logged. */
  get log() {
    return this.#log.join("\n");
  }

  /** The value of one metric that has no labels. */
  async metric(name) {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const line = text.split("\n").find((line) => line.startsWith(`rowcast_${name} `));
    if (!line) throw new Error(`no metric ${name} in:\n${text}`);
    return Number(line.split(" ")[1]);
  }

  async #launch(address) {
    const child = spawn(BINARY, ["serve", "--listen", address], {
      env: environment(this.#settings),
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#child = child;
    this.#log = [];
    children.add(child);
    const listening = new Promise((resolve, reject) => {
      createInterface(child.stderr).on("line", (line) => {
        this.#log.push(line);
        const port = /"address":"127\.0\.0\.1:(\d+)"/.exec(line)?.[1];
        if (port) resolve(`http://127.0.0.1:${port}`);
      });
      child.once("exit", (code) => reject(new Error(`the server ended with ${code}:\n${this.#log.join("\n")}`)));
    });
    this.url = await within(listening, "the server to listen", () => this.#log);
    await eventually(async () => {
      const answer = await fetch(`${this.url}/api/ready`);
      return answer.ok || `${answer.status} ${await answer.text()}; its log: ${this.#log.join("\n")}`;
    });
  }
}

/** A wire to a server, which can be cut while both ends stay where they are. */
export class Wire {
  /** This end of it. */
  url = "";
  #listener;
  #sockets = new Set();

  /** Lays one to the server at this URL. */
  static async to(url) {
    const wire = new Wire();
    const { hostname, port } = new URL(url);
    wire.#listener = createServer((near) => {
      const far = connect(Number(port), hostname);
      for (const [from, to] of [[near, far], [far, near]]) {
        wire.#sockets.add(from);
        // Whichever end goes takes the other one with it.
        from.on("error", () => to.destroy()).on("close", () => to.destroy() && wire.#sockets.delete(from));
        from.pipe(to);
      }
    });
    await wire.mend();
    return wire;
  }

  /** Drops every connection, and refuses others until it is mended. */
  async cut() {
    const closed = once(this.#listener, "close");
    this.#listener.close();
    this.#sockets.forEach((socket) => socket.destroy());
    await closed;
  }

  /** Takes connections, again at the same address. */
  async mend() {
    this.#listener.listen(this.url ? Number(new URL(this.url).port) : 0, "127.0.0.1");
    await once(this.#listener, "listening");
    this.url = `http://127.0.0.1:${this.#listener.address().port}`;
  }
}

/** A token for a superuser, from the command line as a user would. */
export async function superuserToken(email) {
  const { stdout } = await promisify(execFile)(BINARY, ["token", "--superuser", email], { env: environment() });
  return stdout.trim();
}

/** Makes a superuser that logs in by password, from the command line as a user would. */
export async function createSuperuser(email, password) {
  const running = promisify(execFile)(BINARY, ["superuser", "create", email], { env: environment() });
  running.child.stdin.end(`${password}\n`);
  await running;
}

/** The database as the user's own application sees it. */
export class Database {
  #client = new pg.Client({ connectionString: DATABASE_URL });
  #tables = 0;

  static async connect() {
    const database = new Database();
    await database.#client.connect();
    return database;
  }

  /** Runs plain SQL. */
  async sql(text) {
    return this.#client.query(text);
  }

  /** Makes a table of its own for a test and attaches it; `rules` are arguments of attach(). */
  async collection(rules = "list_rule => '', view_rule => ''") {
    this.#tables += 1;
    const name = `posts_${process.pid}_${this.#tables}`;
    await this.sql(`create table ${name} (id text primary key, title text, n integer, secret text default 'hush')`);
    await this.sql(`select rowcast.attach('${name}', ${rules}, hidden => array['secret'])`);
    return name;
  }

  /**
   * Makes tables of its own for a test: people who log in with PASSWORD, posts that only their authors
   * see, and plans that only editors see.
   */
  async site() {
    this.#tables += 1;
    const [members, posts, plans] = ["members", "posts", "plans"].map((name) => `${name}_${process.pid}_${this.#tables}`);
    await this.sql(`
      create table ${members} (id text primary key, email text unique, name text, password_hash text);
      insert into ${members} select who, who || '@example.com', who, '${PASSWORD_HASH}' from unnest('{anna,ben}'::text[]) who;
      select rowcast.attach('${members}', kind => 'auth', identity => array['email'], password => 'password_hash');
      create table ${posts} (id text primary key, title text, author text not null);
      select rowcast.attach('${posts}', list_rule => '@request.auth.id = author', view_rule => '@request.auth.id = author');
      create table ${plans} (id text primary key, title text);
      select rowcast.attach('${plans}');
      insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4) values ('p', 'role:editor', '${plans}', 'list', '', 'allow');`);
    return { members, posts, plans };
  }

  async close() {
    await this.#client.end();
  }
}

/** A callback that remembers what it was called with, to be waited for. */
export function inbox() {
  const seen = [];
  let look = () => {};
  const receive = (data) => {
    seen.push(data);
    look();
  };
  receive.seen = seen;
  /** Waits until there are so many, and returns and forgets them. */
  receive.take = async (count = 1) => {
    const enough = new Promise((resolve) => {
      look = () => seen.length >= count && resolve();
      look();
    });
    await within(enough, `${count} calls`, () => seen);
    return seen.splice(0, count);
  };
  return receive;
}

/** Looks again and again until `look` returns true; what else it returns or throws is reported. */
export async function eventually(look) {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const seen = await look().catch((error) => error);
    if (seen === true) return;
    if (Date.now() > end) throw new Error(`not within ${DEADLINE_MS} ms; last seen: ${seen?.stack ?? seen}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Waits for a promise; reports what was seen when time is up. */
export async function within(promise, what, seen) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${what}: not within ${DEADLINE_MS} ms; seen: ${JSON.stringify(seen(), null, 1)}`));
    }, DEADLINE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
