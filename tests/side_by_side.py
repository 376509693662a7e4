"""What runs in one process when several run the tests: a file, so that what it set up once serves all of it; the attacks, which end with the
comparison of everything that they saw with docs/attacks.md; and the demonstrations, which all want the same two ports."""

from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/e2e/attacks/", "tests/e2e/demo/")


class SideBySide(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in TOGETHER if file.startswith(folder)), file)
