"""What a program's starter does around the start itself: secret contents in memory, secret files on disk, and nothing of either afterwards."""

import contextlib
import os
from collections.abc import Iterator

from gatebook.serve.runner.sandbox import Launch


@contextlib.contextmanager
def handed(launch: Launch) -> Iterator[tuple[int, ...]]:
    """Descriptors that hold `launch.handed`, in order, for `pass_fds` and `launch.command`. Once the program was started they may go."""
    with contextlib.ExitStack() as closing:
        descriptors = []
        for content in launch.handed:
            descriptor = os.memfd_create("secret", os.MFD_CLOEXEC)
            closing.callback(os.close, descriptor)
            os.write(descriptor, content)
            os.lseek(descriptor, 0, os.SEEK_SET)
            descriptors.append(descriptor)
        yield tuple(descriptors)


def write_files(launch: Launch) -> None:
    """`launch.files` are there, for this user alone. They go with the directory that they lie in. Raises OSError."""
    for path, content in launch.files.items():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
