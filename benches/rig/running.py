"""A gateway that runs in a prepared directory, and the generator that sends to it."""

import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

BENCHES = pathlib.Path(__file__).resolve().parent.parent
# Of the generator: as many for each of two workers.
CONNECTIONS = 8


def add_arguments(parser):
    """What is run, and where."""
    work = pathlib.Path(tempfile.gettempdir()) / f"countersign-compare-{os.getuid()}"
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--gateway", type=pathlib.Path, default=BENCHES.parent / "target/plain/countersign")
    parser.add_argument("--load", type=pathlib.Path, default=work / "target/load/release/load")


def parsed(parser):
    arguments = parser.parse_args()
    for needed in (arguments.directory / "countersign.db", arguments.gateway, arguments.load):
        if not needed.exists():
            sys.exit(f"{needed} is missing; see README.md")
    return arguments


class Gateway:
    """The process, its admin API and its metrics."""

    def __init__(self, directory, binary, workers):
        self.directory, self.binary, self.workers = directory.resolve(), binary.resolve(), workers
        text = (directory / "countersign.yaml").read_text()
        self.port = int(re.search(r'partners:\s+address: "127.0.0.1:(\d+)"', text)[1])
        self.upstream = int(re.search(r'endpoints: \["http://127.0.0.1:(\d+)"\]', text)[1])

    def __enter__(self):
        begun = time.monotonic()
        command = [self.binary, "serve", "--config", "countersign.yaml", "--output", "json"]
        environment = {**os.environ, "COUNTERSIGN_WORKERS": str(self.workers)}
        self.process = subprocess.Popen(command, cwd=self.directory, env=environment, stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        self.start = time.monotonic() - begun
        if not ready:
            sys.exit("the gateway did not start")
        self.ready = json.loads(ready)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def resident(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024

    def processor_time(self):
        """Seconds that each worker has had a processor."""
        spent = {}
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            name = (task / "comm").read_text().strip()
            if name.startswith("worker-"):
                spent[name] = int((task / "schedstat").read_text().split()[0]) / 1e9
        return spent

    def ask(self, method, path, body):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.ready["socket"])
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 300:
            sys.exit(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text)

    def connections(self):
        """How many each worker has."""
        host, port = self.ready["ops"].rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port))
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return [int(count) for count in re.findall(r"^countersign_worker_connections\{.*\} (\d+)$", text, re.M)]


class Load:
    """The generator at a steady rate, with the upstream in it."""

    def __init__(self, gateway, binary, rate, seconds):
        command = [binary, "--mode", "rate", "--rate", rate, "--connections", CONNECTIONS,
                   "--port", gateway.port, "--spin", gateway.upstream, "--warm", 1, "--seconds", seconds,
                   "--cert", gateway.directory / "partner.pem", "--key", gateway.directory / "partner.key"]
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
        # Until it has its connections, and the upstream is there.
        time.sleep(0.8)

    def has_ended(self):
        return self.process.poll() is not None

    def result(self):
        for told in self.process.communicate()[0].splitlines():
            if told.startswith("END "):
                return json.loads(told[4:])
        sys.exit("the generator failed")
