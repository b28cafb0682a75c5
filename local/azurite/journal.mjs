// The journal that makes Azurite's metadata survive SIGKILL.
//
// Azurite keeps its metadata in LokiJS databases, in memory, and writes each of them whole every
// five seconds: what it acknowledged since then dies with it. Here every change is appended to one
// file before the response that acknowledges it leaves, and the next start replays that file.

import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";

const azurite = createRequire(import.meta.url).resolve("azurite/package.json");
const Loki = createRequire(azurite)("lokijs");

const databases = [];
let journal;
let bytesMax;
let bytes = 0;
let pending = [];

/** Bring the databases below `location` up to date, then journal every change made to them. */
export function keepJournal(location, limit) {
  const file = path.join(location, "journal.ndjson");
  if (fs.existsSync(file)) replay(file);
  journal = fs.openSync(file, "a");
  bytesMax = limit;
  recordChanges();
  flushBeforeResponses();
  // Azurite waits for the disk after every blob. Against a power cut that helps only if the journal
  // waits as well, and against SIGKILL it is not needed: the kernel keeps what was written.
  fs.fdatasync = (_, callback) => setImmediate(callback);
}

/** Killed before the journal is removed, it is replayed once more, which changes nothing. */
function replay(file) {
  // A last line without an end was cut off by a kill: nobody was told that it is done.
  const lines = fs.readFileSync(file, "utf8").split("\n").slice(0, -1);
  const changes = lines.flatMap((line) => JSON.parse(line));
  for (const [name, own] of Map.groupBy(changes, (change) => change.database)) {
    const target = path.join(path.dirname(file), name);
    const database = new Loki(target, { env: "NA" });
    if (fs.existsSync(target)) database.loadJSON(fs.readFileSync(target, "utf8"));
    const documents = new Map();
    for (const change of own) redo(change, database, documents);
    database.collections.forEach((collection) => settle(collection, documents));
    replaceFile(target, database.serialize());
  }
  fs.rmSync(file);
}

/** Collect the documents of changed collections by id: their arrays would make this quadratic. */
function redo({ collection: name, options, id, document }, database, documents) {
  if (options === null) {
    database.removeCollection(name);
    documents.delete(name);
    return;
  }
  const collection = database.getCollection(name) ?? database.addCollection(name, options);
  if (id === undefined) return;
  if (!documents.has(name))
    documents.set(name, new Map(collection.data.map((known) => [known.$loki, known])));
  collection.maxId = Math.max(collection.maxId, id);
  if (document === null) documents.get(name).delete(id);
  else documents.get(name).set(id, document);
}

function settle(collection, documents) {
  const own = documents.get(collection.name);
  if (own === undefined) return;
  collection.data = [...own.values()].sort((one, other) => one.$loki - other.$loki);
  collection.ensureAllIndexes(true);
}

function recordChanges() {
  const { addCollection, removeCollection } = Loki.prototype;
  // Each database calls this once, to save itself every five seconds. From here on it is written
  // when it is opened, when it is closed, and when the journal has become long.
  Loki.prototype.autosaveEnable = function () {
    databases.push(this);
  };
  Loki.prototype.addCollection = function (name, options = {}) {
    const isNew = !this.collections.some((known) => known.name === name);
    const collection = addCollection.call(this, name, options);
    if (isNew) recordCollection(path.basename(this.filename), collection, options);
    return collection;
  };
  Loki.prototype.removeCollection = function (name) {
    pending.push({ database: path.basename(this.filename), collection: name, options: null });
    removeCollection.call(this, name);
  };
  // In one go, so that no save is under way when another begins.
  Loki.LokiFsAdapter.prototype.saveDatabase = (name, text, callback) => {
    replaceFile(name, text);
    callback();
  };
}

function recordCollection(database, collection, options) {
  const { name } = collection;
  const record = (id, document) => pending.push({ database, collection: name, id, document });
  pending.push({ database, collection: name, options });
  collection.on(["insert", "update"], (changed) => {
    for (const document of [changed].flat()) record(document.$loki, document);
  });
  collection.on("delete", (document) => record(document.$loki, null));
}

/** No byte of a response leaves before the changes that it acknowledges are in the journal. */
function flushBeforeResponses() {
  const { writeHead } = http.ServerResponse.prototype;
  http.ServerResponse.prototype.writeHead = function (...head) {
    flush();
    return writeHead.apply(this, head);
  };
}

/** A request's changes are one line, so that a kill keeps all of them or none. */
function flush() {
  if (pending.length === 0) return;
  const line = Buffer.from(`${JSON.stringify(pending)}\n`);
  pending = [];
  try {
    fs.writeFileSync(journal, line);
  } catch (error) {
    // Going on would acknowledge what the next start does not know.
    console.error(`azurite: cannot write its journal: ${error.message}`);
    process.exit(1);
  }
  bytes += line.length;
  // Not at once: another request may be half way through its changes.
  if (bytes > bytesMax) setImmediate(startAnew);
}

function startAnew() {
  if (bytes <= bytesMax) return;
  flush();
  databases.forEach((database) => database.saveDatabase());
  fs.ftruncateSync(journal);
  bytes = 0;
}

function replaceFile(name, text) {
  fs.writeFileSync(`${name}~`, text);
  fs.renameSync(`${name}~`, name);
}
