"""gatebook.toml: its schema, its reading, and everything that can be wrong with a deployment, found at once.

`load` gives a Deployment or raises ConfigurationError; `examine` gives what can be made of a file and its problems; `check` looks further,
at keys, clock, disk, certificates and upstreams, and changes nothing.
"""

from gatebook.config.load import Examined, Loaded, examine, examine_bytes, load, load_bytes
from gatebook.config.problem import Problem

__all__ = ["Examined", "Loaded", "Problem", "examine", "examine_bytes", "load", "load_bytes"]
