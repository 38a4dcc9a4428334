"""How does Kafka run? One node that is broker and controller, from the jars of kafka/pom.xml."""

import base64
import hashlib
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import uuid
from types import SimpleNamespace

from errors import Failure
from install import call, say
from instance import Server
from ports import Ports

POM = pathlib.Path(__file__).parent.parent / "kafka/pom.xml"
LOGGING = POM.with_name("log4j2.xml")
METADATA, METADATA_VERSION = 3, 7
ARCHIVE, ARCHIVE_SECONDS = "classes.jsa", 300

name = "kafka"
ports = ("broker", "controller")
processes = ("kafka",)
settings = ()


def install(cache):
    version = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    jars = cache.made(f"kafka-{version}", _copy_jars)
    cache.made(_classes(jars).name, lambda directory: _archive_classes(jars, Ports(cache.brokers / "ports"), directory))
    return jars


def commands(server, installed):
    return _commands(server, [*_java(installed), f"-XX:SharedArchiveFile={_classes(installed)}/{ARCHIVE}"])


def _java(jars):
    java = ["java", "-cp", f"{jars}/*", "-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"]
    return [*java, f"-Dlog4j2.configurationFile={LOGGING}"]


def _commands(server, java, options=()):
    properties = server.directory / "server.properties"
    properties.write_text(_properties(server))
    if not (server.data / "meta.properties").exists():
        _format(server, java, properties)
    return {"kafka": ([*java, *options, "kafka.Kafka", str(properties)], _environment())}


def _properties(server):
    return f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{server.port("controller")}
listeners=PLAINTEXT://127.0.0.1:{server.port("broker")},CONTROLLER://127.0.0.1:{server.port("controller")}
advertised.listeners=PLAINTEXT://127.0.0.1:{server.port("broker")}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={server.data}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
# A member that died is noticed in a second where a test asks for it.
group.min.session.timeout.ms=1000
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=8388608
"""


def _environment():
    return {key: value for key, value in os.environ.items() if not key.startswith("KAFKA_")}


def _format(server, java, properties):
    identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # An identity that begins with a minus would be read as an option.
    command = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={identity}", "--config", str(properties)]
    with open(server.log, "ab") as log:
        done = subprocess.run(command, env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        raise Failure(f"Kafka could not format {server.data}", f"see {server.log}")


def probe(server):
    """Asks for the brokers and the controller: the node is among them when it serves."""
    request = struct.pack(">hhi", METADATA, METADATA_VERSION, 1) + _string(b"probe") + struct.pack(">i?", 0, False)
    with socket.create_connection(("127.0.0.1", server.port("broker")), timeout=10) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as stream:
            (size,) = struct.unpack(">i", _exactly(stream, 4))
            reply = _exactly(stream, size)
    brokers = struct.unpack(">i", reply[8:12])[0]
    if brokers != 1:
        raise ValueError(f"Kafka has {brokers} brokers")


def _exactly(stream, size):
    received = stream.read(size)
    if len(received) < size:
        raise ValueError("the connection was closed")
    return received


def _string(text):
    return struct.pack(">h", len(text)) + text


def url(server):
    return f"127.0.0.1:{server.port('broker')}"


def variables(server):
    return {"ROHAS_TEST_KAFKA_BROKERS": url(server)}


def _classes(jars):
    return jars.with_name(f"{jars.name}-classes")


def _archive_classes(jars, registry, directory):
    """Runs a broker once, so that the next ones start in half the time: they load its classes as they were in memory."""
    say("archiving Kafka's classes")
    def archiving(server, jars):
        return _commands(server, _java(jars), [f"-XX:ArchiveClassesAtExit={directory}/{ARCHIVE}"])

    broker = SimpleNamespace(name=name, ports=ports, processes=processes, settings=settings, probe=probe, commands=archiving)
    server = Server(directory, broker, registry)
    server.start(jars, {})
    server.wait()
    # It writes the archive when it ends.
    if server.main.stop(ARCHIVE_SECONDS):
        raise Failure(f"Kafka did not archive its classes within {ARCHIVE_SECONDS} s")
    server.wipe()


def _copy_jars(directory):
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if missing:
        raise Failure(f"{missing[0]} is not installed", "remedy: scripts/setup")
    say("fetching Kafka's jars with Maven")
    goal = "org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies"
    call(["mvn", "--batch-mode", "--quiet", "--file", str(POM), goal, "-DincludeScope=runtime", f"-DoutputDirectory={directory}"])
