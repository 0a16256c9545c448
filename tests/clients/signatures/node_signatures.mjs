// http-message-signatures: requests signed by HMAC, ECDSA and Ed25519, sent with undici.

import { createHash, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const from = createRequire(pathToFileURL(`${process.env.MODULES}/`));
const load = (name) => import(pathToFileURL(from.resolve(name)));
const { createSigner, httpbis } = (await load("http-message-signatures")).default;
const { Agent, fetch } = await load("undici");

const { API, KEY, KEY_ID } = process.env;
const dispatcher = new Agent({ connect: { ca: readFileSync(process.env.CA) } });
const signers = {
  hmac: createSigner(KEY, "hmac-sha256", KEY_ID),
  ecdsa: createSigner(readFileSync(process.env.EC), "ecdsa-p256-sha256", `${KEY_ID}/ec`),
  ed25519: createSigner(readFileSync(process.env.ED), "ed25519", `${KEY_ID}/ed`),
};

async function sign(key, method, url, body) {
  const digest = body && createHash("sha256").update(body).digest("base64");
  const headers = body ? { "Content-Digest": `sha-256=:${digest}:` } : {};
  const fields = ["@method", "@target-uri", ...(body ? ["content-digest"] : [])];
  const paramValues = { nonce: randomUUID() };
  const params = ["created", "keyid", "alg", "nonce"];
  return httpbis.signMessage({ key, fields, params, paramValues }, { method, url, headers });
}

const send = (request, body) =>
  fetch(request.url, { method: request.method, headers: request.headers, body, dispatcher });
const reason = async (answer) => (await answer.json()).reason;

for (const [name, key] of Object.entries(signers)) {
  const got = await send(await sign(key, "GET", `${API}?a=b%20c`));
  const body = '{"hello": "world"}';
  const post = await sign(key, "POST", API, body);
  const posted = await send(post, body);
  const again = await send(post, body);
  const changed = await send(await sign(key, "POST", API, body), '{"hello": "w0rld"}');
  const value = [got.status, posted.status, await reason(again), await reason(changed)];
  console.log(JSON.stringify({ step: name, value }));
}
