"""How does RabbitMQ run? Debian's package as a process of ours, with a name service of its own, nothing of the system's."""

import os
import pathlib
import shutil
import socket
import struct

from errors import Failure

name = "rabbitmq"
ports = ("amqp", "distribution", "epmd")
processes = ("epmd", "rabbitmq")
settings = ()

# What the reply to our Connection.Open is.
OPEN_OK = (10, 41)


def install(_cache):
    servers = sorted(pathlib.Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not servers or shutil.which("erl") is None:
        raise Failure("RabbitMQ is not installed", "remedy: scripts/setup, or on Debian: apt-get install rabbitmq-server")
    return servers[-1]


def commands(server, installed):
    for file, text in _files(server).items():
        (server.directory / file).write_text(text)
    environment = _environment(server)
    epmd = ["epmd", "-port", str(server.port("epmd")), "-address", "127.0.0.1"]
    return {"epmd": (epmd, environment), "rabbitmq": ([str(installed), "-noinput"], environment)}


def _files(server):
    settings_file = f"""listeners.tcp.1 = 127.0.0.1:{server.port("amqp")}
log.file = false
log.console = true
log.console.level = info
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = 1GB
# The write-ahead log of quorum queues; 512 MB unless said otherwise.
raft.wal_max_size_bytes = 67108864
"""
    return {"rabbitmq.conf": settings_file, "enabled_plugins": "[].\n", "rabbitmq-env.conf": "", "advanced.config": "[].\n"}


def _environment(server):
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
    directory = str(server.directory)
    return {
        **inherited,
        # Erlang keeps its cookie there.
        "HOME": directory,
        "ERL_EPMD_PORT": str(server.port("epmd")),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "rohas-test@localhost",
        "RABBITMQ_DIST_PORT": str(server.port("distribution")),
        "RABBITMQ_MNESIA_BASE": str(server.data),
        "RABBITMQ_LOG_BASE": directory,
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq.conf",
        "RABBITMQ_ADVANCED_CONFIG_FILE": f"{directory}/advanced.config",
        "RABBITMQ_CONF_ENV_FILE": f"{directory}/rabbitmq-env.conf",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/enabled_plugins",
        "RABBITMQ_GENERATED_CONFIG_DIR": f"{directory}/generated",
        "RABBITMQ_FEATURE_FLAGS_FILE": f"{directory}/feature_flags",
        "RABBITMQ_PID_FILE": f"{directory}/erlang.pid",
        # The Erlang machine takes the place of its script: the pid that we know is its own.
        "RABBITMQ_ALLOW_INPUT": "true",
        # Several instances would bind their schedulers to the same cores.
        "RABBITMQ_SCHEDULER_BIND_TYPE": "u",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }


def probe(server):
    """Opens an AMQP connection to the virtual host, as a client does: the host is there when its queues are recovered."""
    with socket.create_connection(("127.0.0.1", server.port("amqp")), timeout=10) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        _method(connection)
        _send(connection, 10, 11, _long(b"") + _short(b"PLAIN") + _long(b"\0guest\0guest") + _short(b"en_US"))
        tune = _method(connection)[1]
        _send(connection, 10, 31, tune[:6] + struct.pack(">H", 0))
        _send(connection, 10, 40, _short(b"/") + _short(b"") + b"\0")
        method, arguments = _method(connection)
        if method != OPEN_OK:
            raise ValueError(f"the virtual host cannot be opened: {arguments!r}")


def _send(connection, group, method, arguments):
    payload = struct.pack(">HH", group, method) + arguments
    connection.sendall(struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce")


def _method(connection):
    """The next method: its class and number, and its arguments."""
    size = struct.unpack(">BHI", _exactly(connection, 7))[2]
    payload = _exactly(connection, size + 1)
    return struct.unpack(">HH", payload[:4]), payload[4:-1]


def _exactly(connection, size):
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ValueError("the connection was closed")
        received += chunk
    return received


def _short(text):
    return struct.pack(">B", len(text)) + text


def _long(text):
    return struct.pack(">I", len(text)) + text


def url(server):
    return f"amqp://guest:guest@127.0.0.1:{server.port('amqp')}/%2f"


def variables(server):
    return {"ROHAS_TEST_RABBITMQ_URL": url(server)}
