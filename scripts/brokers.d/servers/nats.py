"""How does a NATS server run? With JetStream, built by Go, or Debian's where there is no Go."""

import json
import os
import re
import shutil
import socket
import subprocess

from errors import Failure
from install import call, say

VERSION = "2.15.2"
# Newer Go fetches the toolchain that a module asks for.
OLDEST_GO = (1, 21)

name = "nats"
ports = ("client", "monitor")
processes = ("nats",)
settings = ("nats_sync",)


def install(cache):
    if not _has_go():
        return _debian()
    return cache.made(f"nats-{VERSION}", _build) / "nats-server"


def commands(server, installed):
    sync = server.setting("nats_sync")
    settings_file = server.directory / "nats.conf"
    settings_file.write_text(
        f"""server_name: rohas_test
listen: "127.0.0.1:{server.port("client")}"
http: "127.0.0.1:{server.port("monitor")}"
jetstream {{
  store_dir: {json.dumps(str(server.data))}
  max_memory_store: 256MB
  max_file_store: 8GB
  {f"sync_interval: {sync}" if sync else ""}
}}
"""
    )
    return {"nats": ([str(installed), "--config", str(settings_file)], dict(os.environ))}


def probe(server):
    """Asks JetStream for the account: it answers when its streams are recovered."""
    with socket.create_connection(("127.0.0.1", server.port("client")), timeout=5) as connection:
        connection.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB _INBOX.probe 1\r\nPUB $JS.API.INFO _INBOX.probe 0\r\n\r\n')
        received = b""
        while b'account_info_response"' not in received:
            chunk = connection.recv(4096)
            if not chunk or b"-ERR" in received:
                raise ValueError(f"JetStream does not answer: {received!r}")
            received += chunk
        if b'"error"' in received:
            raise ValueError(f"JetStream is not ready: {received!r}")


def url(server):
    return f"nats://127.0.0.1:{server.port('client')}"


def variables(server):
    return {"ROHAS_TEST_NATS_URL": url(server), "ROHAS_TEST_NATS_MONITOR": f"http://127.0.0.1:{server.port('monitor')}"}


def _has_go():
    go = shutil.which("go")
    if go is None:
        return False
    version = re.search(r"go(\d+)\.(\d+)", subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout)
    return version is not None and tuple(map(int, version.groups())) >= OLDEST_GO


def _debian():
    found = shutil.which("nats-server", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise Failure("there is neither Go 1.21 nor a nats-server", "remedy: scripts/setup")
    return found


def _build(directory):
    say(f"building nats-server {VERSION}")
    environment = {**os.environ, "GOBIN": str(directory)}
    call(["go", "install", "-trimpath", "-ldflags=-s -w", f"github.com/nats-io/nats-server/v2@v{VERSION}"], env=environment)
