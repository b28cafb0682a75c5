// Starts Azurite's blob, queue and table services in one process; README.md says how.

import fs from "node:fs";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

import { keepJournal } from "./journal.mjs";

const require = createRequire(import.meta.url);
// Beyond this the databases are written whole and the journal starts anew. That takes up to a
// second, so it has to be rare; a replay at the next start has to stay as short.
const JOURNAL_BYTES_MAX = String(64 * 1024 * 1024);

function readArguments() {
  const text = { type: "string" };
  const required = { blobPort: text, queuePort: text, tablePort: text, location: text };
  const journalBytesMax = { type: "string", default: JOURNAL_BYTES_MAX };
  const withParent = { type: "boolean" };
  const { values } = parseArgs({ options: { ...required, journalBytesMax, withParent } });
  const missing = Object.keys(required).find((name) => values[name] === undefined);
  if (missing) throw new Error(`--${missing} is missing`);
  return values;
}

/** Call `ready` with the blob service's address when all three listen; end when all are closed. */
function followServers(ready) {
  const { default: Server } = require("azurite/dist/src/common/ServerBase.js");
  const { start, close } = Server.prototype;
  const open = new Set();
  let closed = 0;
  Server.prototype.start = async function () {
    await start.call(this);
    open.add(this);
    const [blob] = open;
    if (open.size === 3) ready(new URL(blob.getHttpServerAddress()).host);
  };
  Server.prototype.close = async function () {
    // Told twice, by a signal and by the end of standard input, it closes once.
    if (!open.delete(this)) return;
    await close.call(this);
    closed += 1;
    if (closed === 3) process.exit(0);
  };
}

function main() {
  const { withParent, location, journalBytesMax, ...ports } = readArguments();
  fs.mkdirSync(location, { recursive: true });
  keepJournal(location, Number(journalBytesMax));
  let stop = () => process.exit(0);
  followServers((address) => {
    stop = () => process.emit("message", "shutdown"); // How Azurite wants to be told.
    process.stdout.write(`azurite listening on ${address}\n`);
  });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => stop());
  if (withParent) process.stdin.on("end", () => stop()).resume();
  // Azurite reports every step on standard output, where the announcement is to stand alone.
  console.log = () => {};
  process.argv.splice(2, Infinity, "--silent", "--skipApiVersionCheck", "--disableTelemetry");
  for (const [name, port] of Object.entries(ports)) process.argv.push(`--${name}`, port);
  process.argv.push("--location", location);
  require("azurite/dist/src/azurite.js");
}

try {
  main();
} catch (error) {
  console.error(`azurite: ${error.message}`);
  process.exit(1);
}
