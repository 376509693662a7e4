"""A fabricated session: entries as the ledger decodes them, without a ledger."""

import datetime
import json
from typing import Any

from gatebook.ledger.entry import Clocked, Entry, Out, Pay, Written
from gatebook.ledger.reading import Opened
from gatebook.model.record import Asked, Origin, PolicyRef, Resource, Who
from gatebook.reading.playback import Located

SESSION = "5f0c" * 8
ALICE = Who(
    kind="person",
    iss="http://127.0.0.1:9002/people",
    sub="alice",
    agent="claude-code",
    login="sid:77aa01",
    amr=("pwd", "otp", "mfa"),
    acr="urn:example:loa:2",
)
START = datetime.datetime(2026, 11, 22, 16, 31, 28, tzinfo=datetime.UTC)


class FabricatedBook:
    """Entries in order, each with its payloads' plaintexts; `opener` opens them."""

    def __init__(self) -> None:
        self.located: list[Located] = []
        self._bodies: dict[str, bytes] = {}

    def add(
        self,
        event: str,
        *,
        at_s: float,
        ok: bool = True,
        reason: str = "permitted",
        who: Who = ALICE,
        method: str | None = "tools/call",
        name: str | None = None,
        call: str | None = None,
        session: str | None = SESSION,
        rule: str | None = None,
        found: dict[str, int] | None = None,
        bodies: dict[str, Any] | None = None,
        detail: dict[str, str | int | bool] | None = None,
        count: int | None = None,
    ) -> Entry:
        index = len(self.located)
        when = START + datetime.timedelta(seconds=at_s)
        entry = Entry(
            v=1,
            id=f"019aac{index:02d}-0000-7000-8000-000000000000",
            t=when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            clk=Clocked(src="test", off=0, ok=True),
            w=Written(n="gate-0", e="e1", s=index + 1),
            ev=event,
            out=Out(ok=ok, reason=reason),
            who=who,
            from_=Origin(ip="127.0.0.1", client="python-mcp/2.3"),
            res=Resource(kind="server", server="payments", method=method, name=name),
            pol=PolicyRef(config="ab" * 32, snapshot=1, rule=rule, decision="permit" if ok else "deny")
            if rule
            else None,
            q=Asked(id="1", shape={"customer_id": "string"}) if event == "call.intent" else None,
            dlp=found or {},
            call=call,
            sess=session,
            n=(index + 1 if count is None else count) if session else None,
            pay=tuple(self._seal(part, body) for part, body in (bodies or {}).items()),
            prof="dev",
            x=detail or {},
        )
        self.located.append(Located(entry=entry, index=index, leaf=f"{index:064x}"))
        return entry

    def opener(self, entry: Entry, pay: Pay) -> Opened:
        return Opened(self._bodies.get(pay.x))

    def lose_bodies(self) -> None:
        self._bodies.clear()

    def _seal(self, part: str, body: Any) -> Pay:
        plain = body if isinstance(body, bytes) else json.dumps(body).encode()
        digest = f"{len(self._bodies):064x}"
        self._bodies[digest] = plain
        return Pay(part=part, c="c" * 64, x=digest, bytes=len(plain), key="k" * 16)


def asked(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


def answered(structured: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(structured, indent=2)
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {"content": [{"type": "text", "text": text}], "structuredContent": structured, "isError": False},
    }


def story() -> FabricatedBook:
    """An allowed, a masked, a denied and a refused call, and one whose outcome never came."""
    book = FabricatedBook()
    rule = "role:support/allow[0]"
    book.add("session.open", at_s=0, reason="opened", method="server/discover")
    book.add(
        "call.intent",
        at_s=0.004,
        name="get_order",
        call="c-order",
        rule=rule,
        bodies={"request": asked("get_order", {"order_id": "ord_5001"})},
    )
    book.add(
        "call.result",
        at_s=0.013,
        reason="completed",
        name="get_order",
        call="c-order",
        bodies={"response": answered({"order_id": "ord_5001", "item": "desk lamp", "amount_minor": 1290})},
    )
    customer = {
        "customer_id": "cus_1001",
        "name": "Ambrosia Testerton",
        "card": {"number": "411111******1111", "expires": "01/2028"},
        "nearest_card": 4012880000011881,
    }
    book.add(
        "call.intent",
        at_s=0.52,
        name="get_customer",
        call="c-customer",
        rule=rule,
        bodies={"request": asked("get_customer", {"customer_id": "cus_1001"})},
    )
    book.add(
        "call.result",
        at_s=0.531,
        reason="completed",
        name="get_customer",
        call="c-customer",
        found={"pan:masked": 3},
        bodies={"response": answered(customer)},
    )
    book.add(
        "call.refused",
        at_s=1.2,
        ok=False,
        reason="denied",
        name="delete_customer",
        call="c-delete",
        rule="default",
        bodies={"request": asked("delete_customer", {"customer_id": "cus_1001"})},
    )
    book.add(
        "call.refused",
        at_s=1.9,
        ok=False,
        reason="card_number_in_arguments",
        name="get_order",
        call="c-card",
        rule="default",
        found={"pan:masked": 1},
        bodies={"request": asked("get_order", {"order_id": "4111 11** **** 1111"})},
    )
    book.add("call.intent", at_s=2.4, name="list_orders", call="c-lost", rule=rule)
    return book
