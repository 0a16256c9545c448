// undici, the client behind Node's fetch. Argument: http1 or http2.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// It is installed below target/ and not beside this file.
const { Client } = createRequire(join(process.env.MODULES, "undici"))("undici");

const read = (name) => process.env[name] && readFileSync(process.env[name]);
const body = read("BODY");
const { origin, pathname } = new URL(process.env.URL);

async function call() {
  const client = new Client(origin, {
    allowH2: process.argv[2] === "http2",
    connect: { ca: read("CA"), cert: read("CERT"), key: read("KEY"), family: 4 },
  });
  try {
    const answer = await client.request({ method: body ? "POST" : "GET", path: pathname, body });
    return `${answer.statusCode}\n${await answer.body.text()}`;
  } finally {
    await client.destroy();
  }
}

for (let left = Number(process.env.CALLS); left > 0; left -= 1) {
  console.log(`== ${await call().catch((error) => `failed: ${error} ${error.cause ?? ""}`)}`);
}
