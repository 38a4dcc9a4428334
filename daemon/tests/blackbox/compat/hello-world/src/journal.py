import json
import os


def note(*words):
    """One line per call, whole even when several handlers write at once."""
    line = json.dumps(words, default=str) + "\n"
    descriptor = os.open("journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
