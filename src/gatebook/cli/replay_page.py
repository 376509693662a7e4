"""A session as one HTML file that needs nothing else: no script, no font, no address; every value escaped (see `markup`)."""

import base64
import hashlib
import re
from collections.abc import Iterator
from importlib import resources
from typing import Literal

import msgspec

from gatebook.cli.markup import Html, element, joined, raw
from gatebook.cli.printing import spoken_finding
from gatebook.masking.pans import looks_like_our_number
from gatebook.reading.playback import Body, Playback, Step

MAX_OPEN_STEPS = 12
"""Refusals, failures and findings stand open. Where a session has none of them, and not more steps than this, all do."""

_MASK = re.compile(
    r"(?:\d[ .\-]?){0,6}\*(?:[ .\-]?\*){3,12}[ .\-]?(?:\d[ .\-]?){3}\d"  # up to six digits, stars, four digits; separators kept
    r"|\[(?:track|cvv|pin|pin block) removed\]|\[[a-z ]{3,40} redacted\]"
    r"|(?<![\d.\w])\d{14,19}(?![\d.\w])"  # a JSON number, if it has the form of ours
)
_TONES = {"passed": "passed", "refused": "refused", "failed": "failed", "open": "no outcome", "note": "noted"}


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of the log said when this page was made. `words`: its finding in a sentence; `root` as the verifier prints it; `command`: how to repeat it."""

    status: Literal["intact", "broken", "unchecked"]
    words: str
    origin: str
    size: int | None
    root: str | None
    key: str | None
    command: str


def page(playback: Playback, verification: Verification, *, made_at: str) -> str:
    """The whole document. `made_at`: now, as entries write times."""
    style = resources.files("gatebook.cli").joinpath("replay.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    # The hash is of our style sheet: nothing else can style, nothing can run, nothing can be fetched.
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"Session {playback.session[:12]} · Gatebook"),
        element("style", raw(style)),
    )
    body = element(
        "body",
        element(
            "main",
            _heading(playback),
            _facts(playback),
            _verification(verification),
            _to_be_told(playback),
            element("h2", "What happened"),
            _timeline(playback),
            _footer(made_at),
        ),
    )
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'


def _heading(playback: Playback) -> Html:
    development = element("span", "dev profile", class_="tag dev") if playback.development else raw("")
    state = "closed" if playback.closed else "still open"
    return element(
        "header",
        element("p", "Gatebook · session replay", class_="eyebrow"),
        element("h1", _who(playback), " ", element("span", "on", class_="quiet"), " ", playback.server),
        element(
            "p", element("code", playback.session), element("span", state, class_="tag"), development, class_="under"
        ),
    )


def _facts(playback: Playback) -> Html:
    who = playback.who
    facts = [
        ("Who", f"{who.kind} {who.sub}", who.iss),
        ("Agent", who.agent or "not named", who.login and f"login {who.login}"),
        ("Log-in evidence", ", ".join(who.amr) or "none in the token", who.acr),
        ("From", playback.origin.ip, playback.origin.client),
        ("Began", _clock(playback.opened), _date(playback.opened)),
        ("Ended", _clock(playback.closed or playback.last), "closed" if playback.closed else "last entry so far"),
    ]
    if who.acting_for is not None:
        facts.insert(1, ("On behalf of", who.acting_for, "the human behind the job"))
    rows = [
        element("div", element("dt", name), element("dd", value, element("small", more) if more else raw("")))
        for name, value, more in facts
    ]
    return joined((element("dl", *rows, class_="facts"), _counts(playback)))


def _counts(playback: Playback) -> Html:
    masked = sum(playback.findings.values())
    numbers = (
        (str(playback.calls), "calls", ""),
        (str(playback.refusals), "refused", "refused" if playback.refusals else ""),
        (str(masked), "findings", "found" if masked else ""),
        (str(len(playback.gaps)), "not captured", "gap" if playback.gaps else ""),
    )
    cells = [
        element("div", element("b", number), element("span", name), class_=f"count {tone}")
        for number, name, tone in numbers
    ]
    return element("div", *cells, class_="counts")


def _verification(verification: Verification) -> Html:
    titles = {
        "intact": "The log verifies",
        "broken": "The log does NOT verify",
        "unchecked": "The log was not verified",
    }
    rows = [("Log", verification.origin)]
    if verification.size is not None and verification.root is not None:
        rows += [("Checkpoint", f"{verification.size} entries"), ("Root", verification.root)]
    if verification.key is not None:
        rows.append(("Key used", verification.key))
    listed = [element("div", element("dt", name), element("dd", element("code", value))) for name, value in rows]
    return element(
        "section",
        element("h2", titles[verification.status]),
        element("p", verification.words),
        element("dl", *listed),
        element("p", "Check it yourself, on a machine you trust and with a key you were given earlier:"),
        element("pre", verification.command, class_="command"),
        class_=f"verification {verification.status}",
    )


def to_be_told(playback: Playback) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What the steps do not show, or not by themselves: headings and sentences."""
    if playback.remarks:
        yield "What was put into the recording afterwards", playback.remarks
    if playback.gaps:
        yield "What could not be captured", playback.gaps


def _to_be_told(playback: Playback) -> Html:
    sections = (
        element(
            "section",
            element("h2", heading),
            element("ul", *(element("li", sentence) for sentence in sentences)),
            class_="gaps",
        )
        for heading, sentences in to_be_told(playback)
    )
    return joined(sections)


def _timeline(playback: Playback) -> Html:
    plain = len(playback.steps) <= MAX_OPEN_STEPS and not any(_is_notable(step) for step in playback.steps)
    steps = (_step(step, unfolded=_is_notable(step) or (plain and not step.quiet)) for step in playback.steps)
    return element("ol", *steps, class_="timeline")


def _is_notable(step: Step) -> bool:
    return bool(step.findings) or bool(step.remarks) or step.tone in ("refused", "failed", "open")


def _step(step: Step, *, unfolded: bool) -> Html:
    took = f"{step.took_s * 1000:.0f} ms" if step.took_s is not None else ""
    summary = element(
        "summary",
        element("span", f"+{step.offset_s:.3f} s", class_="offset", title=step.at),
        element("span", step.method, element("b", step.name) if step.name else raw(""), class_="what"),
        *(
            element("span", f"{count} × {spoken_finding(name)}", class_="tag found")
            for name, count in sorted(step.findings.items())
        ),
        element(
            "span", step.reason if step.tone in ("refused", "failed") else _TONES[step.tone], class_=f"tag {step.tone}"
        ),
        element("span", took, class_="took"),
    )
    details = element("details", summary, _decision(step), _bodies(step), _places(step), open=unfolded)
    return element("li", details, class_=step.tone)


def _decision(step: Step) -> Html:
    words: list[str] = []
    if step.rule is not None:
        words += ["Decided by ", element("code", step.rule), ". "]
    words += [f"Outcome: {step.reason}."]
    if step.call is not None:
        words += [" Call ", element("code", step.call), "."]
    return element("p", *words, class_="decision")


def _bodies(step: Step) -> Html:
    return element("div", *(_body(body) for body in step.bodies), class_="bodies") if step.bodies else raw("")


def _body(body: Body) -> Html:
    shown = (
        element("pre", *highlighted(body.text))
        if body.text is not None
        else element("p", body.missing or "", class_="missing")
    )
    return element("figure", element("figcaption", body.part), shown)


def highlighted(body: str) -> Iterator[str]:
    """The text in pieces, what Gatebook put in place of something as `<mark>`."""
    for piece, is_mask in marked(body):
        yield element("mark", piece) if is_mask else piece


def marked(body: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, each with whether it is something of ours: a masked number, a removed code, a redacted secret.

    LIMIT: by its looks. What a server sent looking like a mask is marked, too."""
    end = 0
    for match in _MASK.finditer(body):
        if match[0].isdigit() and not looks_like_our_number(match[0].encode()):
            continue
        yield body[end : match.start()], False
        yield match[0], True
        end = match.end()
    yield body[end:], False


def _places(step: Step) -> Html:
    lines = [
        element(
            "li",
            element("span", place.entry.ev),
            element("span", f"entry {place.index}" if place.index is not None else "not yet sealed"),
            element("code", place.leaf),
        )
        for place in step.places
    ]
    return element("ul", *lines, class_="places")


def _footer(made_at: str) -> Html:
    return element(
        "footer",
        element("h2", "What this page is, and is not"),
        element(
            "p",
            "It is a copy for reading, made by a program on the machine that holds the log. By itself it proves nothing: anyone can "
            "write an HTML file. The proof is the log. Each step names its entries by leaf hash; an entry commits to the recorded bodies, "
            "and the signed checkpoint commits to every entry.",
        ),
        element(
            "p",
            "A log that verifies shows that its entries are those that were signed, in that order, none changed or taken out. It cannot show "
            "that nothing was left out before it was written, nor that an older copy was not put in its place: for that, compare it "
            "with a checkpoint that you kept somewhere else.",
        ),
        element(
            "p",
            "Bodies are recorded after masking. Highlighted values are Gatebook’s masks; the originals were never written down.",
        ),
        element("p", f"Made {made_at}. Reading this recording was itself recorded in the log.", class_="quiet"),
    )


def _who(playback: Playback) -> str:
    return playback.who.sub


def _date(stamp: str) -> str:
    return stamp[:10]


def _clock(stamp: str) -> str:
    return f"{stamp[11:19]} UTC"
