"""Who owns what under `data_dir` where `[users]` gives each room a user: one table, laid out by root and looked at by everybody else.

| place | whose | who else, and why |
| formats.json, log.vkey, payloads.pub | supervisor | everybody reads |
| keys/log.skey | sealer | nobody |
| keys/ (tokens, refresh tokens) | desk | nobody |
| keys/session.key, fingerprint.key | gate | the desk reads the fingerprints' key |
| published | desk | everybody reads: what verifies its tokens |
| segments/ROOM | that room | the sealer takes and removes what is written there |
| log, payloads | sealer | the desk reads them for people; the checkpoint is everybody's |
| log/configs | supervisor | the desk reads |
| sealer, desk | that room | nobody |
| run/sessions.map | gate | the desk sees when a login was last used |
| run/runner | runner | the gate connects to the servers' sockets |
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gatebook import formats
from gatebook.config.key_files import LOG_VKEY
from gatebook.durable import make_folder, sync_folder
from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError
from gatebook.model.users import Account, Users
from gatebook.serve import keys

CLI = "cli"
"""The folder of what our commands write into the book: they are typed by root."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """`path` under data_dir, or absolute. `whole`: what lies in it belongs to the same owner and group, with the modes of `within`."""

    path: str
    mode: int
    owner: Account
    group: Account
    folder: bool = True
    whole: bool = False
    made: bool = False
    """A file that is made, empty, where it is not there."""
    needed: bool = True
    """Whether it must be there before the rooms start."""


def places(deployment: Deployment, users: Users) -> Iterator[Place]:
    """Every place with an owner of its own, those above before those below. Set-group-id folders give their group to what is made in them."""
    supervisor, gate, sealer, desk, runner = users.supervisor, users.gate, users.sealer, users.desk, users.runner
    yield Place(path="", mode=0o711, owner=supervisor, group=supervisor)
    # Everybody's to read, also where a restore or a shell that masks more wrote them.
    for name in (formats.NAME, LOG_VKEY, deployment.payload_public_key):
        if (Path(deployment.data_dir) / name).is_relative_to(deployment.data_dir):
            yield Place(path=name, mode=0o644, owner=supervisor, group=supervisor, folder=False, needed=False)
    yield Place(path="lock", mode=0o600, owner=supervisor, group=supervisor, folder=False, needed=False)
    yield Place(path="keys", mode=0o711, owner=supervisor, group=supervisor)
    yield Place(path=deployment.log_key, mode=0o600, owner=sealer, group=sealer, folder=False)
    yield Place(path="keys/session.key", mode=0o600, owner=gate, group=gate, folder=False)
    yield Place(path="keys/fingerprint.key", mode=0o640, owner=gate, group=desk, folder=False)
    if deployment.desk is not None:
        for name in ("keys/refresh.key", "keys/upstream.key"):
            yield Place(path=name, mode=0o600, owner=desk, group=desk, folder=False)
        yield Place(path=deployment.desk.signing_key, mode=0o600, owner=desk, group=desk, folder=False)
        # A folder of its own: who replaces a file must be able to write where it lies.
        yield Place(path=str(Path(deployment.desk.public_keys).parent), mode=0o755, owner=desk, group=desk)
        yield Place(path=deployment.desk.public_keys, mode=0o644, owner=desk, group=desk, folder=False)
    # Sticky: the sealer removes there what is its own, and puts no other folder in the place of a room's, nor of ours, into which root writes.
    yield Place(path="segments", mode=0o1771, owner=supervisor, group=sealer)
    writers = {"supervisor": supervisor, CLI: supervisor, "gate": gate, "sealer": sealer, "desk": desk}
    for name, account in writers.items():
        yield Place(path=f"segments/{name}", mode=0o2770, owner=account, group=sealer)
    yield Place(path="log", mode=0o2751, owner=sealer, group=desk, whole=True)
    yield Place(path="log/checkpoint", mode=0o644, owner=sealer, group=desk, folder=False, needed=False)
    yield Place(path="log/configs", mode=0o2750, owner=supervisor, group=desk, whole=True)
    yield Place(path="payloads", mode=0o2750, owner=sealer, group=desk, whole=True)
    yield Place(path="sealer", mode=0o700, owner=sealer, group=sealer, whole=True)
    yield Place(path="desk", mode=0o700, owner=desk, group=desk, whole=True)
    yield Place(path="run", mode=0o711, owner=supervisor, group=supervisor)
    yield Place(path="run/sessions.map", mode=0o660, owner=gate, group=desk, folder=False, made=True)
    if runner is not None:
        yield Place(path="run/runner", mode=0o2750, owner=runner, group=gate)


def lay_out(deployment: Deployment, users: Users, *, anew: bool = False) -> tuple[str, ...]:
    """Every place is there, with its owner and mode; keys that are missing are made where they may be (`keys.make_missing`); returns what was
    made, in words. Idempotent. To be done by root. `anew`: also within folders that look as they should, where root has written since.
    Raises ConfigurationError; what was done before stays done.

    Root works here in folders of others: nothing is done to what a link leads to."""
    try:
        make_folder(Path(deployment.data_dir))
        made = keys.make_missing(deployment)
        for place in places(deployment, users):
            _lay(Path(deployment.data_dir) / place.path, place, anew=anew)
        _adopt_old_segments(Path(deployment.data_dir) / "segments", users.sealer)
    except OSError as failure:
        path = failure.filename or deployment.data_dir
        mend = "run this as root, and see that no link stands there"
        raise ConfigurationError((f"data_dir: {path}: {failure.strerror}; {mend}",)) from failure
    return made


def _lay(path: Path, place: Place, *, anew: bool) -> None:
    if place.folder:
        if not os.path.lexists(path):
            path.mkdir(mode=0o700)
            sync_folder(path.parent)
    elif place.made and not os.path.lexists(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        sync_folder(path.parent)
    elif not os.path.lexists(path):
        return
    with _opened(path, folder=place.folder) as descriptor:
        if _is_laid(descriptor, place) and not anew:
            return
        if place.whole:
            _give_all_within(descriptor, place)
        # Last: a walk that was broken off is begun again.
        _give(descriptor, place, place.mode, path)


def _is_laid(descriptor: int, place: Place) -> bool:
    status = os.fstat(descriptor)
    return (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (
        place.owner.uid,
        place.group.gid,
        place.mode,
    )


def _give_all_within(top: int, place: Place) -> None:
    """What an earlier run wrote under another user. Folders and plain files; the walk follows no link."""
    for _, folders, files, here in os.fwalk(".", dir_fd=top, follow_symlinks=False):
        _take_half_names(files, here)
        for name in (*folders, *files):
            folder = name in folders
            with contextlib.suppress(FileNotFoundError), _opened(Path(name), folder=folder, within=here) as descriptor:
                _give(descriptor, place, place.mode & 0o7750 if folder else place.mode & 0o640, Path(name))


def _take_half_names(files: list[str], here: int) -> None:
    """A sealer that was killed while it named a file leaves it with two names in one folder (`5` and `5.tmp`): the second goes. A name elsewhere
    stays, and counts."""
    for name in files:
        with contextlib.suppress(FileNotFoundError):
            both = [os.stat(each, dir_fd=here, follow_symlinks=False) for each in (name, f"{name}.tmp")]
            if os.path.samestat(*both):
                os.unlink(f"{name}.tmp", dir_fd=here)


def give_whole(top: int, uid: int, gid: int) -> None:
    """Everything in the folder behind the descriptor `top` belongs to this user, with the modes that it has; the folder itself as before. Root may do
    so while that user is at work there: no link is followed, nor a folder that was put in another's place. Raises OSError where a file has a
    name elsewhere, too."""
    account = Account(name=f"user {uid}", uid=uid, gid=gid)
    for _, folders, files, here in os.fwalk(".", dir_fd=top, follow_symlinks=False):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):
                kind = os.stat(name, dir_fd=here, follow_symlinks=False).st_mode
                if not (stat.S_ISDIR(kind) or stat.S_ISREG(kind)):
                    continue
                with _opened(Path(name), folder=stat.S_ISDIR(kind), within=here) as descriptor:
                    _require_one_name(descriptor, account, Path(name))
                    os.fchown(descriptor, uid, gid)


def _adopt_old_segments(segments: Path, sealer: Account) -> None:
    """What writers left there before the rooms had users of their own is the sealer's to take."""
    for path in (each for each in segments.iterdir() if each.suffix in (".seg", ".mark", ".new")):
        with contextlib.suppress(FileNotFoundError), _opened(path, folder=False) as descriptor:
            _require_one_name(descriptor, sealer, path)
            os.fchown(descriptor, sealer.uid, sealer.gid)


def _give(descriptor: int, place: Place, mode: int, path: Path) -> None:
    _require_one_name(descriptor, place.owner, path)
    # The mode last: a change of owner clears the set-group-id bit.
    os.fchown(descriptor, place.owner.uid, place.group.gid)
    os.fchmod(descriptor, mode)


def _require_one_name(descriptor: int, owner: Account, path: Path) -> None:
    """Nothing is given to `owner` that also lies elsewhere: where the kernel permits it (fs.protected_hardlinks = 0, and what the room could write), a room
    makes another name in its folder for a file that is not its own, the log's key for one, and waits for root to give it away. Raises OSError."""
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and status.st_uid != owner.uid:
        raise OSError(
            0,
            f"is not {owner.name}'s and has another name (a hard link), so it is not given away: look who made it, and remove the one too many",
            str(path),
        )


@contextlib.contextmanager
def _opened(path: Path, *, folder: bool, within: int | None = None) -> Iterator[int]:
    """A descriptor of this folder or plain file itself, never of what a link leads to."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_DIRECTORY if folder else 0)
    descriptor = os.open(path, flags, dir_fd=within)
    try:
        if not folder and not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "is no plain file", str(path))
        yield descriptor
    finally:
        os.close(descriptor)
