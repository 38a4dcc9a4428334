"""How do outside clients store numbers in a broker and read all that it holds? A client of each broker, as its users have it."""

import asyncio
import json

import aio_pika
import boto3
import confluent_kafka
import confluent_kafka.admin
import nats

SUBJECT = "numbers"
SECONDS = 30


class Nats:
    """A stream on disk; a number is stored when the server has acknowledged it."""

    def __init__(self, environment):
        self.url = environment["ROHAS_TEST_NATS_URL"]

    def write(self, numbers):
        asyncio.run(self._write(numbers))

    def read(self, count):
        return asyncio.run(self._read(count))

    async def _write(self, numbers):
        async with await nats.connect(self.url, connect_timeout=SECONDS) as client:
            stream = client.jetstream(timeout=SECONDS)
            await stream.add_stream(name=SUBJECT, subjects=[SUBJECT])
            for number in numbers:
                await stream.publish(SUBJECT, str(number).encode())

    async def _read(self, count):
        async with await nats.connect(self.url, connect_timeout=SECONDS) as client:
            subscription = await client.jetstream(timeout=SECONDS).subscribe(SUBJECT, ordered_consumer=True)
            return sorted([int((await subscription.next_msg(timeout=SECONDS)).data) for _ in range(count)])


class Rabbitmq:
    """A quorum queue; a number is stored when its publish is confirmed."""

    def __init__(self, environment):
        self.url = environment["ROHAS_TEST_RABBITMQ_URL"]

    def write(self, numbers):
        asyncio.run(self._write(numbers))

    def read(self, count):
        return asyncio.run(self._read(count))

    async def _write(self, numbers):
        async with await aio_pika.connect(self.url, timeout=SECONDS) as connection:
            channel = await connection.channel(publisher_confirms=True)
            await self._queue(channel)
            for number in numbers:
                message = aio_pika.Message(str(number).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, routing_key=SUBJECT, timeout=SECONDS)

    async def _read(self, count):
        # Never acknowledged: the queue takes them back when the connection ends.
        async with await aio_pika.connect(self.url, timeout=SECONDS) as connection:
            queue = await self._queue(await connection.channel())
            async with queue.iterator(timeout=SECONDS) as messages:
                return sorted([int((await anext(messages)).body) for _ in range(count)])

    async def _queue(self, channel):
        return await channel.declare_queue(SUBJECT, durable=True, arguments={"x-queue-type": "quorum"})


class Kafka:
    """A topic; a number is stored when all in-sync replicas have it."""

    def __init__(self, environment):
        self.settings = {"bootstrap.servers": environment["ROHAS_TEST_KAFKA_BROKERS"]}

    def write(self, numbers):
        admin = confluent_kafka.admin.AdminClient(self.settings)
        if SUBJECT not in admin.list_topics(timeout=SECONDS).topics:
            admin.create_topics([confluent_kafka.admin.NewTopic(SUBJECT, 2, 1)])[SUBJECT].result(SECONDS)
        failures = []
        producer = confluent_kafka.Producer({**self.settings, "acks": "all", "enable.idempotence": True})
        for number in numbers:
            producer.produce(SUBJECT, str(number), on_delivery=lambda error, _message: error and failures.append(error))
        unsent = producer.flush(SECONDS)
        assert not unsent and not failures, (unsent, failures)

    def read(self, count):
        consumer = confluent_kafka.Consumer({**self.settings, "group.id": f"group-{count}", "auto.offset.reset": "earliest", "enable.auto.commit": False})
        try:
            consumer.subscribe([SUBJECT])
            numbers = []
            while len(numbers) < count:
                messages = consumer.consume(count - len(numbers), SECONDS)
                assert messages, f"only {len(numbers)} of {count} came"
                numbers += [int(message.value()) for message in messages if message.error() is None]
            return sorted(numbers)
        finally:
            consumer.close()


class Aws:
    """A bus of EventBridge with a rule that puts its events into a queue of SQS."""

    def __init__(self, environment):
        options = {
            "endpoint_url": environment["ROHAS_TEST_AWS_ENDPOINT"],
            "region_name": environment["AWS_REGION"],
            "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
        }
        self.sqs, self.events = boto3.client("sqs", **options), boto3.client("events", **options)

    def write(self, numbers):
        queue = self.sqs.create_queue(QueueName=SUBJECT)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.events.create_event_bus(Name=SUBJECT)
        self.events.put_rule(Name=SUBJECT, EventBusName=SUBJECT, EventPattern=json.dumps({"source": [SUBJECT]}))
        self.events.put_targets(Rule=SUBJECT, EventBusName=SUBJECT, Targets=[{"Id": SUBJECT, "Arn": arn}])
        entries = [{"EventBusName": SUBJECT, "Source": SUBJECT, "DetailType": "number", "Detail": json.dumps(number)} for number in numbers]
        assert self.events.put_events(Entries=entries)["FailedEntryCount"] == 0

    def read(self, count):
        queue = self.sqs.get_queue_url(QueueName=SUBJECT)["QueueUrl"]
        numbers = []
        while len(numbers) < count:
            messages = self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=20).get("Messages", [])
            assert messages, f"only {len(numbers)} of {count} came"
            numbers += [json.loads(message["Body"])["detail"] for message in messages]
        return sorted(numbers)
