// oauth4webapi: discovery, the client credentials grant, an exchange, a refresh and DPoP, each answer checked strictly.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const from = createRequire(pathToFileURL(`${process.env.MODULES}/`));
const load = (name) => import(pathToFileURL(from.resolve(name)));
const oauth = await load("oauth4webapi");
const { Agent, fetch } = await load("undici");

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE = "urn:countersign:token-type:";
const read = (name) => process.env[name] && readFileSync(process.env[name]);
const say = (step, value) => console.log(JSON.stringify({ step, value }));

function session(name, certificate = name === "SERVER") {
  const [id, secret] = process.env[name].split(":");
  const shown = certificate ? { cert: read("CERT"), key: read("KEY") } : {};
  const dispatcher = new Agent({ connect: { ca: read("CA"), ...shown } });
  const options = { [oauth.customFetch]: (url, init) => fetch(url, { ...init, dispatcher }) };
  return { client: { client_id: id }, auth: oauth.ClientSecretBasic(secret), options };
}

const server = session("SERVER");
const device = session("DEVICE");
const issuer = new URL(process.env.ISSUER);
const discovery = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...server.options });
const as = await oauth.processDiscoveryResponse(issuer, discovery);
say("issuer", as.issuer === process.env.ISSUER);

const asked = await oauth.clientCredentialsGrantRequest(as, server.client, server.auth, { scope: "orders:read" }, server.options);
const token = await oauth.processClientCredentialsResponse(as, server.client, asked);
say("client_credentials", [token.token_type, token.scope]);

const exchange = async (who, parameters) => {
  const answer = await oauth.genericTokenEndpointRequest(as, who.client, who.auth, EXCHANGE, parameters, who.options);
  return oauth.processGenericTokenEndpointResponse(as, who.client, answer, {
    recognizedTokenTypes: { n_a: () => {} },
  });
};
const vouched = await exchange(server, { subject_token: "alice", subject_token_type: `${TYPE}user` });
say("vouch", vouched.issued_token_type);
const login = await exchange(device, { subject_token: vouched.access_token, subject_token_type: `${TYPE}auth` });
const refreshed = await oauth.refreshTokenGrantRequest(as, device.client, device.auth, login.refresh_token, device.options);
const fresh = await oauth.processRefreshTokenResponse(as, device.client, refreshed);
say("refresh", fresh.refresh_token !== login.refresh_token);

const keys = await oauth.generateKeyPair("ES256");
const alone = session("SERVER", false);
const bound = { ...alone.options, DPoP: oauth.DPoP(alone.client, keys) };
let nonces = 0;
const again = async (call) => {
  try {
    return await call();
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    nonces += 1;
    return await call();
  }
};
const proved = await again(async () => {
  const answer = await oauth.clientCredentialsGrantRequest(as, alone.client, alone.auth, {}, bound);
  return oauth.processClientCredentialsResponse(as, alone.client, answer);
});
const api = new URL(process.env.API);
const call = (how) => oauth.protectedResourceRequest(proved.access_token, "GET", api, undefined, undefined, how);
const called = await again(() => call(bound));
const stolen = await call(alone.options).then((answer) => answer.status, (error) => error.status);
say("dpop", [proved.token_type, nonces, called.status, stolen]);

const wrong = await oauth.clientCredentialsGrantRequest(as, device.client, oauth.ClientSecretBasic("sk_live_x"), {}, device.options);
const refused = await oauth.processClientCredentialsResponse(as, device.client, wrong).catch((error) => error.status);
say("wrong secret", refused);
