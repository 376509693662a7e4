"""Rooms of one release can be led by the supervisor of another: what they say is of one form, or of another `control.VERSION`.

    python -m tests.unit.serve.test_control_versions > tests/vectors/release-0.1.0/control.json

writes the form anew. Do so for what was never released, or with a new VERSION."""

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatebook.model.deployment import Deployment
from gatebook.serve.control import (
    VERSION,
    Activate,
    Adopted,
    FromRoom,
    Listening,
    Ready,
    ToRoom,
    WorkerStart,
    ready,
    supervisor_end,
)
from gatebook.serve.handover import Handover
from gatebook.serve.rooms import Room

VECTOR = Path(__file__).parents[2] / "vectors" / "release-0.1.0" / "control.json"


def form() -> dict[str, Any]:
    """Messages to rooms, from rooms, what a room is started with, and what a supervisor leaves: with every type in them."""
    _, types = msgspec.json.schema_components(
        (ToRoom, FromRoom, WorkerStart, Deployment, Handover), ref_template="{name}"
    )
    (to, back), _ = msgspec.json.schema_components((ToRoom, FromRoom), ref_template="{name}")
    said = {name: _bare(each) for name, each in sorted(types.items())}
    return {"version": VERSION, "to_room": _bare(to), "from_room": _bare(back), "types": said}


def _bare(schema: Any) -> Any:
    """Without what only people read."""
    if isinstance(schema, dict):
        return {key: _bare(value) for key, value in schema.items() if key not in ("description", "title", "default")}
    return [_bare(each) for each in schema] if isinstance(schema, list) else schema


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Where a program that speaks `old` and one that speaks `new` could misunderstand each other."""
    found = [name for name in ("to_room", "from_room") if old[name] != new[name]]
    for name, was in old["types"].items():
        now = new["types"].get(name)
        if now is None:
            found.append(f"{name} is gone")
        elif set(was.get("required", ())) != set(now.get("required", ())):
            found.append(f"{name} must hold other fields")
        elif {k: v for k, v in was.items() if k not in ("properties", "required")} != {
            k: v for k, v in now.items() if k not in ("properties", "required")
        }:
            found.append(f"{name} is another thing")
        else:
            fields = now.get("properties", {})
            found += [f"{name}.{f}" for f, kind in was.get("properties", {}).items() if fields.get(f) != kind]
    return found


def test_what_rooms_and_supervisors_say_is_understood_by_those_of_the_release_before() -> None:
    old = json.loads(VECTOR.read_text())
    if old["version"] == VERSION:
        assert differences(old, form()) == [], (
            "raise control.VERSION, or write the form of what was never released anew"
        )


def test_a_change_that_the_other_side_would_not_understand_is_seen() -> None:
    old = form()
    worker = old["types"]["WorkerStart"]
    gone = {**worker["properties"]}
    del gone["slot"]
    optional = {**worker, "properties": {**worker["properties"], "pace": {"type": "integer"}}}
    for changed, seen in (
        ({**worker, "properties": gone}, ["WorkerStart.slot"]),
        ({**optional, "required": [*worker["required"], "pace"]}, ["WorkerStart must hold other fields"]),
        (optional, []),
    ):
        assert differences(old, {**old, "types": {**old["types"], "WorkerStart": changed}}) == seen
    assert differences(old, {**old, "to_room": {"anyOf": []}}) == ["to_room"]


class FakeChild:
    pid = 1

    def __init__(self) -> None:
        self.returncode: int | None = None

    async def wait(self) -> int:
        return self.returncode or 0

    def kill(self) -> None:
        self.returncode = -9

    def terminate(self) -> None:
        self.returncode = -15


def framed(message: object) -> bytes:
    body = msgspec.json.encode(message)
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize("control", [0, VERSION + 1])
async def test_a_room_of_another_control_version_is_ended_and_the_words_name_both(control: int) -> None:
    ours, theirs = socket.socketpair()
    child = FakeChild()
    room = Room("gate-0", child, await supervisor_end(ours))
    room.listen(lambda _room, _message: None)
    theirs.sendall(framed(Ready(release="9.9.9", control=control)))
    with pytest.raises(Exception, match=rf"gate-0 did not start.*9\.9\.9.*control {control}.*speaks {VERSION}"):
        await room.started(5)
    assert child.returncode == -9
    theirs.close()


async def test_what_came_and_was_not_heard_is_handed_on_and_heard_by_the_next() -> None:
    ours, theirs = socket.socketpair()
    first = await supervisor_end(ours)
    whole, half = framed(ready()) + framed(Adopted(number=7)), framed(Listening())
    theirs.sendall(whole + half[:6])
    assert await first.receive() == ready()
    await asyncio.sleep(0)
    descriptor, unread = first.rest()
    assert unread == framed(Adopted(number=7)) + half[:6]
    theirs.sendall(half[6:])
    second = await supervisor_end(socket.socket(fileno=socket.dup(descriptor)), unread)
    first.close()
    assert await second.receive() == Adopted(number=7)
    assert await second.receive() == Listening()
    second.send(Activate(number=1))
    await second.flushed()
    assert theirs.recv(4096) == framed(Activate(number=1))
    second.close()
    theirs.close()


if __name__ == "__main__":
    json.dump(form(), sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")
