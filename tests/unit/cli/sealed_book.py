"""A real book on the disk, written by the real writer and signed by the real sealer, without a gate."""

import asyncio
import threading
from pathlib import Path

from gatebook.adapters.ledger_segment import SegmentHand, SegmentLedger
from gatebook.adapters.log_files import LogFiles
from gatebook.config import load
from gatebook.demo.place import Place, configuration
from gatebook.ledger import reading
from gatebook.ledger.entry import Clocked, Entry
from gatebook.model.deployment import Deployment
from gatebook.model.finding import Finding
from gatebook.model.record import Asked, Draft, Origin, Payload, PolicyRef, Resource, Who
from gatebook.ports import Instant
from gatebook.serve import keys
from gatebook.wiring import seal

SESSION = "0123456789abcdef" * 2
CALL = "019aac11-0000-7000-8000-000000000001"
DENIED_CALL = "019aac22-0000-7000-8000-000000000002"
ALICE = Who(kind="person", iss="http://127.0.0.1:9002/people", sub="alice", agent="claude-code", amr=("pwd", "otp"))
EVIL_NAME = "tool\x1b[2J\x1b]0;owned\x07"


class FixedClock:
    def now(self) -> Instant:
        return Instant(unix_us=1_795_365_088_123_456, clocked=Clocked(src="test", off=0, ok=True))


class SealedBook:
    """A deployment in `directory` whose book holds `drafts`, sealed. `config`: its gatebook.toml."""

    def __init__(self, directory: Path, drafts: list[Draft]) -> None:
        place = Place(directory=directory, gate_port=8080, desk_port=8081, idp_port=9002, payments_port=9001)
        place.api_key_file.write_text("k")
        self.config = place.configuration
        self.config.write_text(configuration(place))
        loaded = load(self.config)
        self.deployment: Deployment = loaded.deployment
        self.directory = Path(self.deployment.data_dir)
        keys.make_missing(self.deployment)
        kept = self.directory / "log" / "configs"
        kept.mkdir(parents=True)
        (kept / f"{loaded.sha256}.toml").write_bytes(loaded.raw)
        self.config_sha256 = loaded.sha256
        asyncio.run(self._write(drafts))
        self.seal()

    def seal(self) -> None:
        """Every entry of every writer that ended is in the log, signed."""
        stop = threading.Event()
        stop.set()
        seal(self.deployment, stop, FixedClock())

    def entries(self, event: str) -> list[Entry]:
        """What the log holds of this kind."""
        return [each.entry for each in reading.entries(LogFiles(self.directory / "log")) if each.entry.ev == event]

    def add(self, draft: Draft) -> None:
        hand = SegmentHand(self.deployment, "gate-1", FixedClock())
        hand.write(draft)
        hand.close()
        self.seal()

    async def _write(self, drafts: list[Draft]) -> None:
        ledger = SegmentLedger.open(self.deployment.data_dir, "gate-0", self.deployment, FixedClock())
        for draft in drafts:
            await ledger.record(draft)
        await ledger.close()


def story(config_sha256: str = "ab" * 32) -> list[Draft]:
    """One masked call and one denied one, by Alice."""
    found = (Finding(detector="pan", action="masked", pointer="/result/structuredContent/card"),)
    return [
        a_draft("call.intent", "get_customer", CALL, rule=("role:support/allow[0]", "permit"), config=config_sha256, body=b'{"method":"tools/call","params":{"arguments":{"customer_id":"cus_1001"}}}', part="request"),
        a_draft("call.result", "get_customer", CALL, reason="completed", config=config_sha256, body=b'{"result":{"structuredContent":{"card":"411111******1111"}}}', part="response", found=found),
        a_draft("call.refused", "delete_customer", DENIED_CALL, ok=False, reason="denied", rule=("default", "deny"), config=config_sha256, body=b'{"method":"tools/call"}', part="request"),
    ]  # fmt: skip


def a_draft(
    event: str,
    name: str,
    call: str,
    *,
    ok: bool = True,
    reason: str = "permitted",
    rule: tuple[str, str] | None = None,
    config: str = "ab" * 32,
    body: bytes | None = None,
    part: str = "request",
    found: tuple[Finding, ...] = (),
    session: str | None = SESSION,
) -> Draft:
    return Draft(
        event=event,  # type: ignore[arg-type]
        ok=ok,
        reason=reason,
        who=ALICE,
        origin=Origin(ip="127.0.0.1", client="test"),
        resource=Resource(kind="server", server="payments", method="tools/call", name=name),
        call=call,
        session=session,
        policy=PolicyRef(config=config, snapshot=1, rule=rule[0], decision=rule[1]) if rule else None,  # type: ignore[arg-type]
        asked=Asked(id="1", shape={"customer_id": "string"}) if event == "call.intent" else None,
        findings=found,
        payloads=(Payload(part=part, body=body),) if body is not None else (),  # type: ignore[arg-type]
    )
