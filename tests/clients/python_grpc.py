"""Python's grpcio. Arguments: none to call, `serve` to be the API that is called."""

import json
import os
import sys
from concurrent import futures

import grpc

METHOD = "/orders.Orders/Place"


def serve():
    """Answers with the length of each message. The first line on standard output is the port."""

    def place(message, _):
        return json.dumps({"body_bytes": len(message)}).encode()

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    place = grpc.unary_unary_rpc_method_handler(place)
    service = grpc.method_handlers_generic_handler("orders.Orders", {"Place": place})
    server.add_generic_rpc_handlers((service,))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


def read(name):
    return open(os.environ[name], "rb").read() if name in os.environ else None


def call():
    trust = grpc.ssl_channel_credentials(read("CA"), read("KEY"), read("CERT"))
    target = os.environ["URL"].removeprefix("https://").split("/")[0]
    # Channels with the same options share their connections.
    options = [("grpc.use_local_subchannel_pool", 1)]
    for _ in range(int(os.environ["CALLS"])):
        with grpc.secure_channel(target, trust, options) as channel:
            try:
                answer = channel.unary_unary(METHOD)(read("BODY") or b"", timeout=60)
                print(f"== OK\n{answer.decode()}")
            except grpc.RpcError as error:
                metadata = list(error.trailing_metadata() or []) + list(error.initial_metadata() or [])
                reason = dict(metadata).get("x-countersign-reason")
                print(f"== {error.code().name}\n{json.dumps({'reason': reason, 'details': error.details()})}")


serve() if sys.argv[1:] == ["serve"] else call()
