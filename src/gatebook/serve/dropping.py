"""Becomes the user of a room for good, then runs the room: `python -I -S dropping.py UID GID -- PROGRAM ARGUMENT …`.

The only code of ours that runs in a room before it is its own user. So it imports nothing but the standard library, and Python is told
to look for nothing else (`-I -S`).
"""

import contextlib
import ctypes
import os
import sys

PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 4, 24, 38, 47, 4
LAST_CAPABILITY = 63
CAPABILITY_VERSION_3 = 0x20080522
PRIVATE_UMASK = 0o027
OWN_USER = "--own-user"
"""The last argument of a room that has a user of its own: it hides its memory from others of that user."""
REFUSED = 126
"""The exit status of a room that could not become its user, or may not run the program."""


def become(uid: int, gid: int) -> None:
    """This process is `uid` and `gid` and nobody else, has no capability, and can never get one again. Raises OSError. The order matters:"""
    # 1. What may be dropped only by somebody privileged. Without CAP_SETPCAP the bounding set stays; step 4 makes it meaningless.
    for capability in range(LAST_CAPABILITY + 1):
        with contextlib.suppress(OSError):
            _prctl(PR_CAPBSET_DROP, capability)
    # 2. Groups before the user: afterwards nothing may be changed any more.
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    # 3. A supervisor that is no root keeps its capabilities over the change of users.
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    _clear_capabilities()
    # 4. No program that it runs can give it any (setuid, file capabilities).
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    os.umask(PRIVATE_UMASK)


def hide() -> None:
    """Nobody but root reads this process's memory, not even a process of the same user; it leaves no core. Lasts until it runs another program."""
    _prctl(PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    if _libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _clear_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if _libc().capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> None:
    uid, gid, program = int(arguments[0]), int(arguments[1]), arguments[3:]
    try:
        become(uid, gid)
        # Where it was started, and the home of who started it, may be closed to it, and name no place for it to be: libpq would look for a
        # certificate in that home, and fail where it may not look.
        os.chdir("/")
        os.environ["HOME"] = "/"
        os.execv(program[0], program)  # noqa: S606 - a list, no shell
    except OSError as failure:
        where = failure.filename or program[0]
        sys.stderr.write(f"user {uid}, group {gid}: {where}: {failure.strerror}\n")
        sys.exit(REFUSED)


if __name__ == "__main__":
    main(sys.argv[1:])
