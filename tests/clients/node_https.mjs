// Node's own https module.

import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";

const read = (name) => process.env[name] && readFileSync(process.env[name]);
const body = read("BODY");

function call() {
  return new Promise((resolve, reject) => {
    const options = {
      agent: new Agent({ keepAlive: false, family: 4, ca: read("CA"), cert: read("CERT"), key: read("KEY") }),
      method: body ? "POST" : "GET",
      headers: body ? { "content-length": body.length } : {},
      timeout: 60_000,
    };
    const sent = request(process.env.URL, options, (answer) => {
      const pieces = [];
      answer.on("data", (piece) => pieces.push(piece));
      answer.on("end", () => resolve(`${answer.statusCode}\n${Buffer.concat(pieces)}`));
      answer.on("error", reject);
    });
    sent.on("error", reject);
    sent.on("timeout", () => sent.destroy(new Error("nothing came for a minute")));
    sent.end(body);
  });
}

for (let left = Number(process.env.CALLS); left > 0; left -= 1) {
  console.log(`== ${await call().catch((error) => `failed: ${error}`)}`);
}
