"""`gatebook saml-metadata`."""

from pathlib import Path

import typer
from cryptography import x509
from rich.table import Table
from rich.text import Text

from gatebook.adapters.saml_metadata_https import fetch
from gatebook.cli import printing
from gatebook.cli.visible import visible
from gatebook.config import examine
from gatebook.config.saml import known
from gatebook.durable import replace_file
from gatebook.federation.errors import ProviderFailed
from gatebook.federation.saml.provider_metadata import MetadataRefused, fingerprint, read_metadata
from gatebook.model.deployment import IdentityProvider, SamlSide


def saml_metadata(
    name: str = typer.Argument(help="The `name` of an `[[idp]]` of kind `saml`."),
    config: Path = typer.Option(Path("gatebook.toml"), "--config", "-c", help="The configuration file."),
    write: bool = typer.Option(False, "--write", help="Keep what was fetched as `saml.metadata`."),
) -> None:
    """Fetch a SAML provider's metadata from `saml.metadata_url` and show what would change: where people log in, and whose signature is
    believed. Nothing else ever fetches them.

    Compare the fingerprints with what the provider's administrator tells you, then say --write. A running gate believes a new certificate
    after SIGHUP; every login's entry names the one that signed.

    Exit codes: 0 nothing changes, or it was written; 1 the metadata cannot be fetched or used; 3 there are changes, and nothing was written."""
    idp, side, url = _provider(name, config)
    assert side.metadata is not None
    try:
        raw = fetch(url, idp.ca_file)
        new = read_metadata(raw, idp.url)
    except ProviderFailed as failure:
        raise _stop(str(failure)) from failure
    except MetadataRefused as refused:
        raise _stop(f"{url}: what was fetched {refused}") from refused
    try:
        old = known(idp, side) if Path(side.metadata).exists() else None
    except (MetadataRefused, OSError):
        old = None
    before = old.certificates if old is not None else ()
    console = printing.console()
    table = Table(box=None, pad_edge=False, show_edge=False)
    for title in ("", "SHA-256 of the certificate", "good until"):
        table.add_column(title, overflow="fold")
    for der in dict.fromkeys((*before, *new.certificates)):
        state = "new" if der not in before else "kept" if der in new.certificates else "gone"
        until = x509.load_der_x509_certificate(der).not_valid_after_utc
        table.add_row(state, fingerprint(der), f"{until:%Y-%m-%d}")
    printing.print_table(table)
    console.print(Text(visible(f"People log in at {new.sso_url}")))
    changed = old is None or set(before) != set(new.certificates) or old.sso_url != new.sso_url
    if write:
        _keep(Path(side.metadata), raw)
        console.print(Text(visible(f"Kept as {side.metadata}. A running gate reads it at SIGHUP.")))
    elif changed:
        console.print("Nothing was written. Compare, then say --write.")
        raise typer.Exit(3)


def _provider(name: str, config: Path) -> tuple[IdentityProvider, SamlSide, str]:
    """Also of a configuration whose metadata file is not there yet: that is what this command is for."""
    examined = examine(config)
    if examined.deployment is None:
        raise _stop("\n".join(str(problem) for problem in examined.problems))
    idp = next((idp for idp in examined.deployment.idps if idp.name == name), None)
    if idp is None or idp.saml is None:
        raise _stop(f"{config}: there is no [[idp]] of kind saml with this name")
    if idp.saml.metadata_url is None or idp.saml.metadata is None:
        raise _stop(f"{config}: idp {name}: write saml.metadata_url and saml.metadata first")
    return idp, idp.saml, idp.saml.metadata_url


def _keep(path: Path, raw: bytes) -> None:
    """Whole or not at all: a gate may read it at any moment."""
    try:
        replace_file(path, raw, mode=0o644)
    except OSError as failure:
        raise _stop(f"{path}: {failure.strerror}") from failure


def _stop(words: str) -> typer.Exit:
    typer.echo(visible(words), err=True)
    return typer.Exit(1)
