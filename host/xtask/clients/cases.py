"""What no schema can say about a request, and therefore is not asked."""

import re

import schemathesis

ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,128}")
OPAQUE = re.compile(r"[0-9a-f]{32}")


@schemathesis.hook
def before_call(context, case, kwargs):
    # The id of an event stands in the header or in the body; two that differ are refused.
    headers, body = case.headers, case.body
    own = body.get("id") if isinstance(body, dict) else None
    key = headers.get("Idempotency-Key") if headers else None
    if is_like(ID, own) and is_like(ID, key):
        headers["Idempotency-Key"] = own
    # Under `/api` the name of an event stands in `type` or in `event`: one of them must be there, and
    # two that differ are refused.
    if case.path.startswith("/api/") and case.path.endswith(("/event", "/events", "/trigger")):
        if isinstance(body, dict) and is_name_or_none(body, "type"):
            if isinstance(body.get("event"), dict) or is_name_or_none(body, "event"):
                body["type"] = body.get("type") or "OPEN"
                body.pop("event", None)
    # Cursors and positions are opaque: one that the host did not give is refused, and it gave none.
    query = case.query or {}
    for name in ("cursor", "after"):
        if is_like(OPAQUE, query.get(name)):
            del query[name]


def is_name_or_none(body, member):
    return body.get(member) is None or is_like(NAME, body[member])


def is_like(pattern, text):
    return isinstance(text, str) and pattern.fullmatch(text) is not None


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return value if isinstance(value, bytes) else str(value).encode()
