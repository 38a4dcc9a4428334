"""What stands in for SQS and EventBridge? moto's server. It keeps everything in memory: what it held is gone when it ends."""

import http.client
import os
import pathlib

name = "aws"
ports = ("http",)
processes = ("aws",)
settings = ()

REQUIREMENTS = pathlib.Path(__file__).parent.parent / "aws/requirements.txt"
REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
# The services that are asked: (in the scope of the signature, action).
ACTIONS = (("sqs", "AmazonSQS.ListQueues"), ("events", "AWSEvents.ListEventBuses"))


def install(cache):
    return cache.venv("moto", REQUIREMENTS)


def commands(server, installed):
    command = [str(installed), "-m", "moto.server", "--host", "127.0.0.1", "--port", str(server.port("http"))]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "MOTO_", "FLASK_", "WERKZEUG_"))}
    return {"aws": (command, {**environment, **CREDENTIALS, "PYTHONUNBUFFERED": "1"})}


def probe(server):
    """Lists queues and buses: the first call of a service loads it."""
    for service, action in ACTIONS:
        connection = http.client.HTTPConnection("127.0.0.1", server.port("http"), timeout=30)
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": action,
            "Authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0",
        }
        try:
            connection.request("POST", "/", body="{}", headers=headers)
            reply = connection.getresponse()
            if reply.status != http.client.OK:
                raise ValueError(f"{action} was answered with {reply.status}: {reply.read()!r}")
        except http.client.HTTPException as error:
            raise ValueError(f"{action} was not answered: {error}") from error
        finally:
            connection.close()


def url(server):
    return f"http://127.0.0.1:{server.port('http')}"


def variables(server):
    return {"ROHAS_TEST_AWS_ENDPOINT": url(server), **CREDENTIALS}
