"""http-message-signatures: requests signed by HMAC, ECDSA and Ed25519, sent with requests."""

import json
import os
import secrets

import requests
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

API = os.environ["API"]
KEYS = {
    "hmac": (algorithms.HMAC_SHA256, os.environ["KEY_ID"]),
    "ecdsa": (algorithms.ECDSA_P256_SHA256, os.environ["KEY_ID"] + "/ec"),
    "ed25519": (algorithms.ED25519, os.environ["KEY_ID"] + "/ed"),
}


class Resolver(HTTPSignatureKeyResolver):
    def resolve_private_key(self, key_id):
        if "/" not in key_id:
            return os.environ["KEY"].encode()
        with open(os.environ[key_id.rsplit("/", 1)[1].upper()], "rb") as file:
            return load_pem_private_key(file.read(), password=None)

    resolve_public_key = resolve_private_key


def say(step, value):
    print(json.dumps({"step": step, "value": value}))


def prepared(session, method, url, body=None):
    return session.prepare_request(requests.Request(method, url, data=body))


session = requests.Session()
session.verify, session.trust_env = os.environ["CA"], False
for name, (algorithm, key_id) in KEYS.items():
    signer = HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=Resolver())

    def sign(request, body=None, components=("@method", "@target-uri")):
        nonce = secrets.token_urlsafe()
        signer.sign(request, key_id=key_id, nonce=nonce, covered_component_ids=components, body=body)
        return request

    got = session.send(sign(prepared(session, "GET", API + "?a=b%20c")))
    body = b'{"hello": "world"}'
    post = sign(prepared(session, "POST", API, body), body)
    posted = session.send(post)
    again = session.send(post)
    split = sign(prepared(session, "GET", API + "?x=1"), None, ("@method", "@authority", "@path", "@query"))
    changed = sign(prepared(session, "POST", API, body), body)
    changed.body = b'{"hello": "w0rld"}'
    answers = [got, posted, session.send(split)]
    refused = [again, session.send(changed)]
    say(name, [a.status_code for a in answers] + [a.json()["reason"] for a in refused])
