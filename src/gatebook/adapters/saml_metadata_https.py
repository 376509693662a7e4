"""A provider's metadata, fetched because somebody typed the command that does it: https, from the one URL that is laid down, by no redirect."""

import httpx2

from gatebook.federation.errors import ProviderFailed
from gatebook.federation.saml.provider_metadata import MAX_BYTES
from gatebook.trusted_roots import trusting

TOTAL_S = 20.0


def fetch(url: str, ca_file: str | None) -> bytes:
    """What lies at `url`, unjudged, at most MAX_BYTES. Raises ProviderFailed."""
    try:
        client = httpx2.Client(verify=trusting(ca_file), trust_env=False, follow_redirects=False, timeout=TOTAL_S)
        with (
            client,
            client.stream("GET", url, headers={"Accept-Encoding": "identity", "User-Agent": "gatebook"}) as answer,
        ):
            if answer.status_code != 200:
                raise ProviderFailed(f"{url}: answered {answer.status_code}; redirects are not followed")
            if answer.headers.get("content-encoding", "identity").lower() != "identity":
                raise ProviderFailed(f"{url}: answered with a content coding nobody asked for")
            body = bytearray()
            for piece in answer.iter_raw():
                body += piece
                if len(body) > MAX_BYTES:
                    raise ProviderFailed(f"{url}: the answer is larger than {MAX_BYTES} bytes")
            return bytes(body)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as failure:
        raise ProviderFailed(f"{url}: {type(failure).__name__}") from failure
