"""What can be asked of the brokers? The commands of scripts/brokers."""

import argparse
import os
import pathlib
import shlex
import sys

import clients
from errors import Failure
from install import Cache
from instance import Instance
from servers import BROKERS

SINGLE = {
    "restart": "stop brokers and start them on the same ports with the same data",
    "kill": "end brokers with SIGKILL",
    "pause": "stop the processes of brokers (SIGSTOP): connections stay open, nothing answers",
    "resume": "let paused brokers go on (SIGCONT)",
}


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/brokers", description="Real brokers for the tests, without containers.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, text, names="*"):
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("names", nargs=names, metavar="name", help=f"any of {', '.join(BROKERS)}; all when none is named")
        return added

    def placed(name, text, names="*"):
        added = command(name, text, names)
        added.add_argument("--dir", type=pathlib.Path, help="where this instance lives (default: $CARGO_TARGET_DIR/brokers)")
        return added

    command("install", "install brokers without starting them")
    up = placed("up", "start brokers, wait until they answer, and print their urls")
    up.add_argument("--nats-sync", metavar="INTERVAL", help="when JetStream syncs to the disk: always, or an interval such as 2m")
    down = placed("down", "stop brokers")
    down.add_argument("--wipe", action="store_true", help="remove their data, logs and ports too")
    down.add_argument("--all", action="store_true", help="those of every instance of this user, such as tests that were killed left")
    placed("status", "say which brokers run; exit code 1 when one does not")
    placed("env", "print how the tests reach the brokers, for eval")
    for name, text in SINGLE.items():
        placed(name, text, "+")
    commands.add_parser("clients", help="print a Python that has a client of each broker", description="Prints a Python that has a client of each broker.")
    return parser.parse_args()


def chosen(names):
    unknown = [name for name in names if name not in BROKERS]
    if unknown:
        raise Failure(f"there is no broker {unknown[0]}", f"known: {', '.join(BROKERS)}")
    return [BROKERS[name] for name in BROKERS if name in names or not names]


def up(instance, brokers, asked):
    if "nats_sync" in asked and all(broker.name != "nats" for broker in brokers):
        raise Failure("--nats-sync is for nats, which is not among the named brokers")
    for line in instance.up(brokers, asked):
        print(line, flush=True)


def status(instance, brokers):
    lines, all_run = [], True
    for server in instance.servers(brokers):
        lines.append(server.status())
        all_run = all_run and server.answers()
    print("\n".join(lines))
    return 0 if all_run else 1


def env(instance, brokers, named):
    for server in instance.servers(brokers):
        if not server.runs():
            if named:
                raise Failure(f"{server.broker.name} does not run", f"remedy: scripts/brokers up {server.broker.name}")
            continue
        for variable, value in server.variables().items():
            print(f"export {variable}={shlex.quote(value)}")


def run(options):
    cache = Cache(pathlib.Path(os.environ["ROHAS_CACHE"]))
    if options.command == "clients":
        print(clients.python(cache))
        return 0
    brokers = chosen(options.names)
    if options.command == "install":
        for broker in brokers:
            print(f"{broker.name:<9} {broker.install(cache)}")
        return 0
    directory = pathlib.Path(os.environ["ROHAS_BROKERS_FROM"]) / (options.dir or pathlib.Path(os.environ["CARGO_TARGET_DIR"]) / "brokers")
    instance = Instance(directory.resolve(), cache)
    if options.command == "status":
        return status(instance, brokers)
    if options.command == "env":
        env(instance, brokers, bool(options.names))
    elif options.command == "up":
        up(instance, brokers, {"nats_sync": options.nats_sync} if options.nats_sync else {})
    elif options.command == "restart":
        instance.down(brokers)
        up(instance, brokers, {})
    elif options.command == "down":
        for directory in instance.ports.instances() if options.all else [instance.directory]:
            Instance(directory, cache).down(brokers, wipe=options.wipe)
    else:
        instance.signal(brokers, options.command)
    return 0


def main():
    try:
        sys.exit(run(arguments()))
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


main()
