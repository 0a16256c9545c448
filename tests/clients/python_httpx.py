"""Python's httpx. Argument: http1 or http2."""

import os
import ssl
import sys

import httpx

trust = ssl.create_default_context(cafile=os.environ["CA"])
if "CERT" in os.environ:
    trust.load_cert_chain(os.environ["CERT"], os.environ["KEY"])
body = open(os.environ["BODY"], "rb").read() if "BODY" in os.environ else None
expected = {"http1": "HTTP/1.1", "http2": "HTTP/2"}[sys.argv[1]]

for _ in range(int(os.environ["CALLS"])):
    try:
        with httpx.Client(http2=expected == "HTTP/2", verify=trust, timeout=60) as client:
            answer = client.request("POST" if body else "GET", os.environ["URL"], content=body)
        assert answer.http_version == expected, answer.http_version
        print(f"== {answer.status_code}\n{answer.text}")
    except httpx.HTTPError as error:
        print(f"== failed: {error!r}")
