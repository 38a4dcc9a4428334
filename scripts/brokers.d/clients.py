"""Which Python has the clients that users of the brokers have? Outside clients, for the tests."""

import pathlib

REQUIREMENTS = pathlib.Path(__file__).parent / "clients/requirements.txt"


def python(cache):
    return cache.venv("broker-clients", REQUIREMENTS)
