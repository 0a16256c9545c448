"""Authlib: every grant of the token service, introspection and revocation."""

import json
import os

from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE = "urn:countersign:token-type:"
issuer, api = os.environ["ISSUER"], os.environ["API"]


def client(name, method="client_secret_basic"):
    key, secret = os.environ[name].split(":", 1)
    session = OAuth2Session(key, secret, token_endpoint_auth_method=method)
    session.verify = os.environ["CA"]
    # Else REQUESTS_CA_BUNDLE of the environment would come first.
    session.trust_env = False
    if name == "SERVER":
        session.cert = (os.environ["CERT"], os.environ["KEY"])
    return session


def say(step, value):
    print(json.dumps({"step": step, "value": value}))


server, device = client("SERVER"), client("DEVICE", "client_secret_post")
found = server.get(f"{issuer}/.well-known/oauth-authorization-server", withhold_token=True).json()
say("issuer", found["issuer"] == issuer)
endpoint = found["token_endpoint"]

token = server.fetch_token(endpoint, grant_type="client_credentials", scope="orders:read")
say("client_credentials", [token["token_type"], token["scope"]])
say("call", server.get(api).status_code)

about = server.introspect_token(found["introspection_endpoint"], token=token["access_token"]).json()
say("introspection", [about["active"], "x5t#S256" in about["cnf"]])

signing = client("SERVER", "private_key_jwt")
signing.client_secret = open(os.environ["SIGNER"]).read()
signing.register_client_auth_method(PrivateKeyJWT(endpoint, headers={"kid": "partner"}))
signed = signing.fetch_token(endpoint, grant_type="client_credentials")
say("private_key_jwt", signed["token_type"])

vouched = server.fetch_token(
    endpoint,
    grant_type=EXCHANGE,
    subject_token="alice",
    subject_token_type=TYPE + "user",
    device_id="phone",
)
say("vouch", vouched["issued_token_type"])

login = device.fetch_token(
    endpoint,
    grant_type=EXCHANGE,
    subject_token=vouched["access_token"],
    subject_token_type=TYPE + "auth",
)
say("login", device.get(api).status_code)
fresh = device.refresh_token(endpoint, refresh_token=login["refresh_token"])
say("refresh", [fresh["refresh_token"] != login["refresh_token"], device.get(api).status_code])

ended = device.revoke_token(found["revocation_endpoint"], token=fresh["refresh_token"])
say("revocation", [ended.status_code, device.get(api).status_code])
