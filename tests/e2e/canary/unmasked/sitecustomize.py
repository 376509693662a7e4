"""Python imports this at start where it lies on PYTHONPATH: every room of the gate then runs with a masker that finds nothing.

The control of the canary: what the search says of such a gate shows that it would have seen what a working masker keeps out.
"""

from gatebook import masking


def _mask(body: bytes, secrets: object = None) -> masking.Masked:
    return masking.Masked(body, ())


def _mask_text(text: str, secrets: object = None) -> tuple[str, tuple[masking.Finding, ...]]:
    return text, ()


def _inspect_arguments(body: bytes) -> tuple[masking.Finding, ...]:
    return ()


masking.self_test = lambda: None
masking.mask, masking.mask_text, masking.inspect_arguments = _mask, _mask_text, _inspect_arguments  # type: ignore[assignment]
