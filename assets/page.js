// The live page: what the feed sends, as it comes, through PocketBase's own browser client.
"use strict";

const EVENTS_MAX = 200;
const RATE_WINDOW_MS = 5000;
const byId = (id) => document.getElementById(id);

// The page may be served below a prefix; the API is its neighbour.
const pb = new PocketBase(new URL("..", location.href).href.replace(/\/$/, ""));
pb.autoCancellation(false);

// Kept in memory only, so that no token stays behind in the browser's storage.
let token = "";
let tokenInForce = "";
pb.beforeSend = (url, options) => {
  options.headers = { ...options.headers };
  if (token) options.headers.Authorization = token;
  else delete options.headers.Authorization;
  return { url, options };
};

let topics = readTopics();
let unsubscribe = [];
let changing = Promise.resolve();

/* What arrives. Waits here for the next frame, so that a flood costs one rendering per frame. */
let waiting = [];
let paused = false;
let total = 0;
let arrivals = [];

function receive(topic, data) {
  total += 1;
  arrivals.push(performance.now());
  if (paused) return;
  waiting.push({ topic, data, at: new Date() });
  if (waiting.length > EVENTS_MAX) waiting.shift();
  if (waiting.length === 1) requestAnimationFrame(render);
}

function render() {
  const list = byId("events");
  const fresh = document.createDocumentFragment();
  for (const event of waiting.reverse()) fresh.append(row(event));
  waiting = [];
  list.prepend(fresh);
  while (list.children.length > EVENTS_MAX) list.lastChild.remove();
}

function row({ topic, data, at }) {
  const isChange = data !== null && typeof data === "object" && data.record && data.action;
  const action = isChange ? data.action : "message";
  const shown = isChange ? data.record : data;
  const name = isChange ? `${shown.collectionName}/${shown.id}` : topic;
  const item = document.createElement("li");
  item.dataset.action = action;
  const details = element("details");
  const summary = element("summary");
  const time = element("time", at.toTimeString().slice(0, 8) + "." + String(at.getMilliseconds()).padStart(3, "0"));
  summary.append(time, element("span", action, "action"), element("span", name, "name"), element("span", preview(shown), "json"));
  summary.querySelector(".name").title = name;
  details.append(summary);
  // Most events are never opened: their full text is made when they are.
  details.addEventListener("toggle", () => details.append(element("pre", JSON.stringify(data, null, 2))), { once: true });
  item.append(details);
  return item;
}

function preview(value) {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const { collectionId, collectionName, id, ...rest } = value;
  return JSON.stringify(rest).slice(0, 500);
}

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

/* Subscriptions. One change after the other, so that the last one asked for is the one in force. */
function resubscribe() {
  changing = changing.then(subscribeAll).catch(complain);
}

async function subscribeAll() {
  byId("trouble").hidden = true;
  if (token !== tokenInForce) {
    // A stream belongs to whoever subscribed first, so another token needs another stream.
    unsubscribe = [];
    await pb.realtime.unsubscribe();
    tokenInForce = token;
    await watchConnection();
  }
  for (const stop of unsubscribe.splice(0)) await stop();
  // Together, so that the client sends them as one list.
  unsubscribe = await Promise.all(
    topics.map((topic) => pb.realtime.subscribe(topic, (data) => receive(topic, data))),
  );
}

function complain(error) {
  const answer = error.response?.message;
  byId("trouble").textContent = answer ? `${error.status}: ${answer}` : `Could not subscribe: ${error.message}`;
  byId("trouble").hidden = false;
}

function readTopics() {
  const wanted = new URLSearchParams(location.hash.slice(1)).getAll("topic");
  return wanted.length ? [...new Set(wanted)] : ["*"];
}

function showTopics() {
  byId("chosen").replaceChildren(...topics.map((topic) => {
    const item = element("li");
    const remove = element("button", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Unsubscribe from ${topic}`);
    remove.addEventListener("click", () => setTopics(topics.filter((other) => other !== topic)));
    item.append(element("span", topic), remove);
    return item;
  }));
}

function setTopics(wanted) {
  topics = wanted;
  const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
  // In the address, so that a view can be bookmarked.
  history.replaceState(null, "", `#${query}`);
  showTopics();
  resubscribe();
}

/* The connection. */
function showState(state) {
  byId("state").dataset.state = state;
  byId("state").textContent = state;
}

pb.realtime.onDisconnect = (active) => showState(active.length ? "disconnected" : "idle");

function watchConnection() {
  return pb.realtime.subscribe("PB_CONNECT", () => showState("connected"));
}

/* The controls. */
byId("ask").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const asked = byId("topic").value.trim();
  byId("topic").value = "";
  token = byId("token").value.trim();
  setTopics(asked ? [...new Set([...topics, asked])] : topics);
});
byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
});
byId("clear").addEventListener("click", () => byId("events").replaceChildren());
addEventListener("hashchange", () => {
  topics = readTopics();
  showTopics();
  resubscribe();
});

setInterval(() => {
  const since = performance.now() - RATE_WINDOW_MS;
  arrivals = arrivals.filter((at) => at > since);
  const rate = (arrivals.length * 1000) / RATE_WINDOW_MS;
  byId("rate").textContent = rate >= 10 ? rate.toFixed(0) : rate.toFixed(1);
  byId("total").textContent = total.toLocaleString("en");
}, 500);

showTopics();
changing = watchConnection().catch(complain);
resubscribe();
