#!/usr/bin/env python3
"""Hears what Muster applied, and prints each message once, as a line of JSON.

    python3 listen.py amqp://muster:PASSWORD@host:5672/%2f --queue payroll --key '*.change_set.#'

It needs pika (Debian: python3-pika). The queue is durable and bound to the exchange, so what is told while nobody
listens waits in it. A message is acknowledged once it is dealt with; if this program dies before that, it comes again.
"""

import argparse
import json
import sys

import pika


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the broker, amqp://user:password@host:port/virtual-host")
    parser.add_argument("--exchange", default="muster.events")
    parser.add_argument("--queue", default="muster-listener", help="the queue of this listener")
    parser.add_argument("--key", action="append", help="what to hear (default: everything)")
    return parser.parse_args()


class Seen:
    """What has been dealt with: of each organisation the place up to which it was.

    An organisation's messages come in the order of its log, and some more than once, but none before all those ahead of
    it, so a place is enough. Keep it where you keep what you make of the messages, and write both together; here it is
    only in memory.
    """

    def __init__(self):
        self.places = {}

    def is_new(self, event):
        data = event["data"]
        # A change set comes in parts, which `first` orders.
        place = (data["seq"], data.get("first", 0))
        if place <= self.places.get(event["source"], (0, 0)):
            return False
        self.places[event["source"]] = place
        return True


def main():
    given = arguments()
    connection = pika.BlockingConnection(pika.URLParameters(given.url))
    channel = connection.channel()
    channel.exchange_declare(given.exchange, exchange_type="topic", durable=True)
    channel.queue_declare(given.queue, durable=True)
    for key in given.key or ["#"]:
        channel.queue_bind(given.queue, given.exchange, routing_key=key)
    channel.basic_qos(prefetch_count=16)
    seen = Seen()

    def heard(channel, method, _properties, body):
        event = json.loads(body)
        if seen.is_new(event):
            print(json.dumps(event), flush=True)
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(given.queue, heard)
    print("listening", file=sys.stderr, flush=True)
    try:
        channel.start_consuming()
    except KeyboardInterrupt:
        connection.close()


if __name__ == "__main__":
    main()
