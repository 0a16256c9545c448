"""requests-oauthlib: the client credentials grant, and a call with its token."""

import json
import os

from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from requests_oauthlib import OAuth2Session

issuer, api = os.environ["ISSUER"], os.environ["API"]
key, secret = os.environ["SERVER"].split(":", 1)
session = OAuth2Session(client=BackendApplicationClient(client_id=key))
session.verify = os.environ["CA"]
# Else REQUESTS_CA_BUNDLE of the environment would come first.
session.trust_env = False
session.cert = (os.environ["CERT"], os.environ["KEY"])


def say(step, value):
    print(json.dumps({"step": step, "value": value}))


endpoint = f"{issuer}/oauth2/token"
token = session.fetch_token(endpoint, client_secret=secret, scope=["orders:read"])
say("client_credentials", [token["token_type"], list(token["scope"])])
say("call", session.get(api).status_code)
try:
    session.fetch_token(endpoint, client_secret="sk_live_wrong")
except OAuth2Error as error:
    say("wrong secret", error.error)
try:
    session.fetch_token(endpoint, client_secret=secret, scope=["admin"])
except OAuth2Error as error:
    say("other scope", error.error)
