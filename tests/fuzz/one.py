"""One target in libFuzzer's hands: `python -m tests.fuzz.one TARGET LIBFUZZER-OPTIONS…`. Started by `run.py`.

A module of its own, because nothing of the gate may be imported before it is instrumented.
"""

import sys

import atheris  # requirements/fuzz.txt; nothing else needs it

_INSTRUMENTED = [
    "gatebook.wire",
    "gatebook.masking",
    "gatebook.identity",
    "gatebook.policy",
    "gatebook.serve.request",
    "gatebook.serve.desk_http.asked",
    "gatebook.federation",
]

if __name__ == "__main__":
    with atheris.instrument_imports(include=_INSTRUMENTED):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
