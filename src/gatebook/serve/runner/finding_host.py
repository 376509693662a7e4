"""What this machine offers to run programs in. Looked for once, when the runner starts."""

import os
import resource
import shutil
import subprocess
from typing import Final

import msgspec

from gatebook.serve.runner.sandbox import GO, Host, Launch, probe

PROBE_S: Final = 10.0
SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


def find_host() -> Host:
    """What this machine offers. Starts a program in a sandbox once, to see that it can be made; takes a tenth of a second."""
    path = os.environ.get("PATH", SYSTEM_PATH)
    found = {name: shutil.which(name, path=path) for name in ("bwrap", "sh", "prlimit")}
    host = Host(
        path=path,
        bubblewrap=found["bwrap"],
        sh=found["sh"] or Host.sh,
        prlimit=found["prlimit"] or Host.prlimit,
        most_tasks=resource.getrlimit(resource.RLIMIT_NPROC)[1],
    )
    why_not = None if host.bubblewrap is None else _why_not(probe(host))
    return host if why_not is None else msgspec.structs.replace(host, bubblewrap=None, why_not=why_not)


def _why_not(trial: Launch) -> str | None:
    """What keeps this host from the sandbox, in its own words; None: nothing."""
    try:
        done = subprocess.run(
            trial.command(()),
            input=GO,
            capture_output=True,
            timeout=PROBE_S,
            env=trial.environment,
            cwd=trial.directory,
        )
    except subprocess.TimeoutExpired:
        return f"it does not start a program within {PROBE_S:g} s"
    except OSError as failure:
        return str(failure.strerror)
    if done.returncode == 0:
        return None
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return f"it says: {said[-1][:200]}" if said else f"it ends with status {done.returncode}"
