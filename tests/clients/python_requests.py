"""Python's requests."""

import os

import requests

certificate = (os.environ["CERT"], os.environ["KEY"]) if "CERT" in os.environ else None
body = open(os.environ["BODY"], "rb").read() if "BODY" in os.environ else None

for _ in range(int(os.environ["CALLS"])):
    try:
        answer = requests.request(
            "POST" if body else "GET",
            os.environ["URL"],
            data=body,
            verify=os.environ["CA"],
            cert=certificate,
            timeout=60,
        )
        print(f"== {answer.status_code}\n{answer.text}")
    except requests.RequestException as error:
        print(f"== failed: {error!r}")
