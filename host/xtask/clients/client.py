"""Creates an instance, sends it an event and reads it, through a client made from the description."""

import sys

from generated import Client
from generated.api.events import send_event
from generated.api.instances import create_instance, get_instance
from generated.models import Disposition, Handled, Instance, NewEvent, NewInstance


def main(url: str) -> None:
    with Client(base_url=url) as client:
        new = NewInstance.from_dict({"context": {"room": "hall"}})
        created = create_instance.sync("Door", "Door", client=client, body=new)
        assert isinstance(created, Instance), created
        event = NewEvent.from_dict({"event": "OPEN", "payload": {"by": "Ann"}})
        sent = send_event.sync(created.id, client=client, body=event)
        assert isinstance(sent, Handled), sent
        assert sent.disposition == Disposition.TRANSITIONED, sent
        read = get_instance.sync(created.id, client=client)
        assert isinstance(read, Instance), read
        assert read.state == "Open", read
        assert read.context.additional_properties == {"room": "hall", "by": "Ann"}, read


main(sys.argv[1])
