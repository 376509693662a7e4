"""One table: reason → what it means, and what the operator does about it. What the caller is told is in `refusal`."""

from typing import NamedTuple

from gatebook.model.errors import Reason


class Hint(NamedTuple):
    meaning: str
    operator: str


NOTHING = "Nothing; the caller must change the request."

HINTS: dict[Reason, Hint] = {
    # transport
    Reason.NOT_FOUND: Hint(
        "No server has this path, or the URL has a query.",
        "Nothing; if the caller is yours, give it the server's URL from `gatebook serve`'s banner, to the last character.",
    ),
    Reason.METHOD_NOT_ALLOWED: Hint(
        "Another HTTP method than POST, GET or DELETE; or GET or DELETE in revision 2026-07-28, which has neither.", NOTHING
    ),
    Reason.TOO_LARGE: Hint(
        "The request line, its headers or its body are larger than the limits. HTTP 413, 414 or 431.",
        "If the call is legitimate, raise `limits.request_bytes` or `limits.header_bytes`, and restart.",
    ),
    Reason.UNSUPPORTED_MEDIA_TYPE: Hint("The body is not declared as JSON in UTF-8.", NOTHING),
    Reason.NOT_ACCEPTABLE: Hint("A GET stream was asked for by a client that does not accept event streams.", NOTHING),
    Reason.BAD_REQUEST: Hint(
        "Not an HTTP request, or one that two HTTP parsers could read differently; or too slow (HTTP 408); or an MCP revision"
        " that nobody knows.",
        "If many come from one address, look there: this is what request smuggling looks like, and also what port scans look like.",
    ),
    Reason.ORIGIN_FORBIDDEN: Hint(
        "A web page of another origin called.",
        "If the page is yours, add its origin to `allowed_origins`. Else somebody's browser was made to call.",
    ),
    Reason.HOST_FORBIDDEN: Hint(
        "The Host header is not that of `public_url`.",
        "Set `public_url` to what clients type, or let the proxy pass the Host on. Else this is DNS rebinding.",
    ),
    Reason.TOO_MANY_CALLS: Hint(
        "One principal has `limits.calls_per_principal` calls under way in this worker, or as many GET streams open.",
        "Look at what it does (`gatebook log --person SUB`); raise the limit only if that is right.",
    ),
    Reason.OVERLOADED: Hint(
        "The worker holds `limits.buffered_bytes`, or as many bytes wait to be judged, or no connection to this server came free.",
        "Look for a slow server first, then for memory and `workers`.",
    ),
    Reason.DRAINING: Hint("The worker is stopping; nothing was sent. Of a stream: it was ended, to be opened again.", "Nothing, if you stopped it."),
    # identity
    Reason.CREDENTIAL_MISSING: Hint(
        "No bearer token. Clients that look for the login begin like this.", "Nothing, unless one source does only this."
    ),
    Reason.CREDENTIAL_MALFORMED: Hint(
        "Two Authorization headers, a broken one, or a token in a query or a form.",
        "If it is your client, mend it: a token in a URL ends up in logs and must be revoked.",
    ),
    Reason.TOKEN_INVALID: Hint(
        "Not a signed JWT, a signature that does not verify, no key id, or a header that asks for more than we do.",
        "One is a broken client. Many are somebody trying.",
    ),
    Reason.TOKEN_EXPIRED: Hint("`exp` has passed, leeway included.", "Nothing; if all tokens are, look at this host's clock."),
    Reason.TOKEN_NOT_YET_VALID: Hint("`nbf` or `iat` lies in the future.", "Compare this host's clock with the issuer's."),
    Reason.TOKEN_AUDIENCE: Hint(
        "The token was issued for another server, or for several.",
        "Let the issuer put this server's URL alone into `aud`, or name its value in `audience`.",
    ),
    Reason.TOKEN_ISSUER: Hint(
        "No configured issuer has exactly this `iss` at this server.",
        "Compare `issuer.url` with the token's `iss`, byte by byte, the last slash included.",
    ),
    Reason.TOKEN_ALGORITHM: Hint(
        "The algorithm is not accepted from this issuer, or is not the one of the key. `none` and HMAC never are.",
        "If the issuer really signs so, name it in `issuer.algorithms`.",
    ),
    Reason.TOKEN_TYPE: Hint(
        "An ID token, a refresh token, another `typ`, or a token bound to a key (DPoP, mTLS), whose proof this release cannot check.",
        "Send access tokens; set `issuer.token_type`.",
    ),
    Reason.TOKEN_KEY_UNKNOWN: Hint(
        "The key that the token names is not in the issuer's set. The set is fetched again, at most every 30 s.",
        "If it stays, look whether the issuer publishes the key, and for `issuer.keys_missing` in the diagnostics.",
    ),
    Reason.TOKEN_CLAIMS: Hint(
        "A claim is missing, of another shape, or says that this is a job where people are expected, or the reverse.",
        "Compare the token's claims with the issuer's `kind` and `groups_claim`.",
    ),
    Reason.KEYS_UNAVAILABLE: Hint(
        "No usable keys of this issuer: never fetched, or older than a day.",
        "See that the issuer can be reached from here: `gatebook check`.",
    ),
    Reason.LOGIN_REVOKED: Hint(
        "The token is genuine, and the login or grant behind it was ended: by a person, a client or an admin, by the provider, because it was idle, or because a refresh token came twice.",
        "Look for the `grant.revoked` entry with the same `sid`: its `x.why` tells.",
    ),
    Reason.LOGIN_REFUSED: Hint(
        "The desk refused a login, a client or a request for a token. The entry's `x.cause` says which case.",
        "Read `x.cause` and `x.hint`; docs/howto/login.md and docs/howto/saml.md explain them.",
    ),
    Reason.INSUFFICIENT_SCOPE: Hint(
        "A tool's rule demands a fresh login by several factors (`mfa`, `mfa_max_age_s`), and the caller's was none. HTTP 403; the challenge sends"
        " the client to log in again.",
        "Nothing, if the client then logs in. If it comes back with the same, look at `x.mfa` of its `token.issued` entry and at `idp.mfa`.",
    ),
    # message
    Reason.PARSE_ERROR: Hint("Not JSON, or JSON that two parsers could read differently.", NOTHING),
    Reason.INVALID_REQUEST: Hint("JSON, but no JSON-RPC message.", NOTHING),
    Reason.INVALID_PARAMS: Hint("The params of a known method are not of its form.", NOTHING),
    Reason.BATCH_FORBIDDEN: Hint("A batch in a revision without batches.", NOTHING),
    Reason.HEADER_MISMATCH: Hint(
        "A mirrored header (`Mcp-Method`, `Mcp-Name`, `Mcp-Param-*`, the revision) says something else than the body.",
        "If it is not a broken client, somebody tried to have one thing judged and another one done.",
    ),
    Reason.UNSUPPORTED_VERSION: Hint("A revision of the modern era that this release does not know.", NOTHING),
    Reason.METHOD_UNKNOWN: Hint(
        "A method that its revision does not have, and that no role grants as an extension. HTTP 404 in the modern era."
        " A notification is dropped with HTTP 202.",
        "If it is an extension that somebody needs, grant it by `methods`.",
    ),
    Reason.SESSION_UNKNOWN: Hint(
        "The MCP session id was forged, belongs to another person, client or server, or was sealed with another session key.",
        "After a changed `session.key` this is normal: clients begin anew. Else look who sent it.",
    ),
    # policy and inspection
    Reason.DENIED: Hint(
        "No role of this caller grants it. The caller is told the same for what does not exist.",
        "`gatebook why CALL_ID` says which rule would have to change; change it only if the access is meant.",
    ),
    Reason.CARD_NUMBER_IN_ARGUMENTS: Hint(
        "Cardholder data in the arguments or in mirrored headers.",
        "If the tool needs it (payments), set `card_numbers` for that tool alone. Else find out where the number came from.",
    ),
    Reason.MASK_IN_ARGUMENTS: Hint(
        "A number masked by us came back as an argument. The server would have stored the mask over good data.",
        "Nothing; the agent must not write back what it could not read.",
    ),
    Reason.TOOL_QUARANTINED: Hint(
        "The server's definition of this tool is not the one that was pinned, or it is new. It is left out of lists, too.",
        "`gatebook server pins NAME` shows what changed; if that is meant, `--accept TOOL` and SIGHUP. Else ask who changed the server.",
    ),
    Reason.INSPECTION_FAILED: Hint(
        "The message could not be inspected, so it was withheld. If it was an answer, the server has acted already.",
        "`gatebook why CALL_ID`; if an intent is there, look at the server. Then report the message's shape as a defect.",
    ),
    # upstream
    Reason.UPSTREAM_UNREACHABLE: Hint(
        "No connection to the server, or its certificate is not trusted. Nothing was sent.", "`gatebook check`."
    ),
    Reason.UPSTREAM_TIMEOUT: Hint(
        "The server was silent for too long. It may have acted.",
        "Look at the server's own log by the call id (`Gatebook-Call-Id`); raise `limits.upstream_response_s` for slow tools.",
    ),
    Reason.UPSTREAM_BROKEN: Hint("The connection broke after sending. The server may have acted.", "As above."),
    Reason.UPSTREAM_INVALID: Hint(
        "The server's answer is no MCP message, belongs to another request, or is compressed. It has acted.",
        "Look at the server; compare its URL with its MCP endpoint.",
    ),
    Reason.UPSTREAM_TOO_LARGE: Hint(
        "The answer is larger than `limits.response_bytes`. The server has acted.",
        "Raise the limit, or let the tool page its results.",
    ),
    Reason.UPSTREAM_REDIRECT: Hint(
        "The server redirected. The credential goes nowhere else.", "Configure the URL that it redirects to, if it is right."
    ),
    Reason.UPSTREAM_REFUSED_CREDENTIAL: Hint(
        "The server answered 401 or 403 to the injected credential.", "Renew the secret; it is read again on change."
    ),
    Reason.CREDENTIAL_UNAVAILABLE: Hint(
        "The secret's file is missing, empty or unreadable, or its variable is not set. Nothing was sent.", "`gatebook check`."
    ),
    # outcomes
    Reason.PERMITTED: Hint("The intent of a call that may go on.", "Nothing."),
    Reason.COMPLETED: Hint("The answer was a result.", "Nothing."),
    Reason.ERROR_RESULT: Hint(
        "The server answered with a JSON-RPC error; its code is in `x.error_code`.", "Nothing of ours; see the server."
    ),
    Reason.TOOL_ERROR: Hint("The tool itself says that it failed (`isError`).", "Nothing of ours; see the server."),
    Reason.CANCELLED: Hint(
        "The client hung up (revision 2026-07-28), or a stream ended because its reader left. The server may have acted.",
        "Nothing.",
    ),
    Reason.UNKNOWN: Hint(
        "The writer ended before an outcome was seen: crash, power loss, SIGKILL. The server may have acted.",
        "Look at the server's own log by the call id.",
    ),
    # ours
    Reason.LEDGER_UNAVAILABLE: Hint(
        "Nothing can be made durable: disk full or broken, or the sealer is behind. If an intent of this call is in the log,"
        " the server may have acted although the caller was told nothing of it.",
        "Free space, look at the disk and at the diagnostics (`room.failed`, `room.ended`). Calls resume by themselves"
        " once there is room; a failed write or sync ends that worker, and the supervisor starts another.",
    ),
    Reason.DISK_SHORT: Hint(
        "Less than `disk.refuse_free_bytes` is free, or hardly any name for a file; what is left is for calls that are under way. One entry at once, then"
        " one a minute for each caller, server and address, with the number.",
        "Make space where `data_dir` lies, but not under `log` or `payloads`; calls go on by themselves. `gatebook doctor` says what is lacking.",
    ),
    Reason.CLOCK_UNSYNCHRONISED: Hint(
        "In `pci`: nobody vouches for this host's clock any more, so no record of now would be evidence.",
        "Look at the time service (`chronyc tracking`); calls go on within a minute of its recovery.",
    ),
    Reason.INTERNAL: Hint(
        "A defect of ours. If an intent of this call is in the log, the server may have acted.",
        "Report the line `bug` from the diagnostics; it names places in our code and never a value.",
    ),
}  # fmt: skip

OTHER_WORDS: dict[str, str] = {
    "agreed": "`consent.given`: the person allowed the client.",
    "alive": "`log.heartbeat`: the sealer works.",
    "authenticated": "`login.completed`: the identity provider said who it is.",
    "begun": "`log.backup`: copying begins; everything that is recorded here is about to be somewhere else too.",
    "believed": "`idp.trusted`: assertions that these certificates sign are believed from now on.",
    "broken": "`log.backup`: the copy is not intact, or lacks what the backup before it held; it was kept aside. Where it names a `manifest` it was made, and is whole, but files of the data directory are not what was backed up before. `log.heartbeat`: files of the log are not what was signed, or a segment is not what its writer made durable.",
    "completed": "`log.read`, `recording.read`, `grants.read`: the reading was recorded and then shown; `revocation.ordered`, `log.backup`: it was done.",
    "continued": "`log.init`: the first entry of a log that goes on after a restore; `log.restore`: nothing was lost, the same log goes on.",
    "created": "`log.init`: the first entry of a log.",
    "enough": "`disk.space`: more is free than `disk.warn_free_bytes`, again.",
    "damaged": "`log.recover`: of what a writer had made durable a part is not as it was written; what lies before it was taken, and the segment is kept as `….seg.damaged`.",
    "ended": "`login.ended`: a person logged out.",
    "failed": "`log.backup`: nothing was made that claims to be a backup.",
    "issued": "`token.issued`: an access token left.",
    "idle": "`session.close`: nothing came for `limits.session_idle_s`.",
    "loaded": "`config.load`: the configuration is active.",
    "read_again": "`login.changed`: the identity provider was asked again at a refresh.",
    "low": "`disk.space`: less is free than `disk.warn_free_bytes`.",
    "opened": "`session.open`: a data key was made for this session and writer.",
    "recovered": "`log.recover`: a writer ended without saying so; what it had made durable was taken.",
    "registered": "`client.registered`: a program made itself known, in `dev`.",
    "refused": "`config.refused`: the file has errors, changes what only a restart can, or could not be made ready; standard error says which.",
    "rolled_back": "`log.restore`: an older copy was put back, or one of which nobody knows whether anything followed.",
    "revoked": "`grant.revoked`: a client's grant was ended; `x.why` says by what.",
    "short": "`disk.space`: less is free than `disk.refuse_free_bytes`; no new call is taken on.",
    "started": "`log.start`: a sealer began.",
    "stopped": "`log.stop`: a sealer ended as told, everything sealed.",
}
"""What `out.reason` says beside `Reason`, in entries about the log, sessions, readings and configuration."""
