// openid-client: discovery, every grant of the token service, DPoP, introspection and revocation.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const from = createRequire(pathToFileURL(`${process.env.MODULES}/`));
const load = (name) => import(pathToFileURL(from.resolve(name)));
const oidc = await load("openid-client");
const { Agent, fetch } = await load("undici");

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE = "urn:countersign:token-type:";
const read = (name) => process.env[name] && readFileSync(process.env[name]);
const say = (step, value) => console.log(JSON.stringify({ step, value }));

async function client(name, method, certificate = name === "SERVER") {
  const [id, secret] = process.env[name].split(":");
  const shown = certificate ? { cert: read("CERT"), key: read("KEY") } : {};
  const dispatcher = new Agent({ connect: { ca: read("CA"), ...shown } });
  const custom = (url, options) => fetch(url, { ...options, dispatcher });
  const found = await oidc.discovery(new URL(process.env.ISSUER), id, undefined, method(secret), {
    algorithm: "oauth2",
    [oidc.customFetch]: custom,
  });
  const call = async (token) =>
    (await oidc.fetchProtectedResource(found, token, new URL(process.env.API), "GET")).status;
  return { found, call };
}

const server = await client("SERVER", oidc.ClientSecretBasic);
const device = await client("DEVICE", oidc.ClientSecretPost);
say("issuer", server.found.serverMetadata().issuer === process.env.ISSUER);

const token = await oidc.clientCredentialsGrant(server.found, { scope: "orders:read" });
say("client_credentials", [token.token_type, token.scope]);
say("call", await server.call(token.access_token));

const about = await oidc.tokenIntrospection(server.found, token.access_token);
say("introspection", [about.active, "x5t#S256" in about.cnf]);

const pem = read("SIGNER").toString();
const pkcs8 = Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
const rsa = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
const key = await crypto.subtle.importKey("pkcs8", pkcs8, rsa, false, ["sign"]);
const signing = await client("SERVER", () => oidc.PrivateKeyJwt({ key, kid: "partner" }));
say("private_key_jwt", (await oidc.clientCredentialsGrant(signing.found)).token_type);

const alone = await client("SERVER", oidc.ClientSecretBasic, false);
const DPoP = oidc.getDPoPHandle(alone.found, await oidc.randomDPoPKeyPair("ES256"));
const proved = await oidc.clientCredentialsGrant(alone.found, {}, { DPoP });
const api = new URL(process.env.API);
const called = await oidc.fetchProtectedResource(alone.found, proved.access_token, api, "GET", null, undefined, { DPoP });
say("dpop", [proved.token_type, called.status]);

const vouched = await oidc.genericGrantRequest(server.found, EXCHANGE, {
  subject_token: "alice",
  subject_token_type: `${TYPE}user`,
  device_id: "phone",
});
say("vouch", vouched.issued_token_type);

const login = await oidc.genericGrantRequest(device.found, EXCHANGE, {
  subject_token: vouched.access_token,
  subject_token_type: `${TYPE}auth`,
});
say("login", await device.call(login.access_token));
const fresh = await oidc.refreshTokenGrant(device.found, login.refresh_token);
say("refresh", [fresh.refresh_token !== login.refresh_token, await device.call(fresh.access_token)]);

await oidc.tokenRevocation(device.found, fresh.refresh_token);
say("revocation", await device.call(fresh.access_token).catch((error) => error.status ?? `${error} ${error.cause}`));
