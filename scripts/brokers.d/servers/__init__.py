"""Which brokers are there? Each module describes one.

`name`; `ports` and `processes`, names of what it needs, the broker itself last; `settings`, what `up` can be asked for it;
`install(cache)` returns where it is; `commands(server, installed)` writes its settings and returns a command and an environment per
process; `probe(server)` raises OSError or ValueError until it serves; `url(server)`; `variables(server)`, for the tests.
"""

from servers import aws, kafka, nats, rabbitmq

BROKERS = {broker.name: broker for broker in (nats, rabbitmq, kafka, aws)}
