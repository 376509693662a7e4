"""A disk that keeps only what was synced. `Recorder` notes what the code that ships does to the files below a directory, call by call;
`disk_after` says what a power loss at any point of it may leave.

The model is harsher than the file systems we know: contents live on only by fsync or fdatasync of that file, names only by fsync of their
directory, and of all that was not synced any part may be there: nothing, all of it, what came first, some calls without those before them,
some sectors of a write, or a write torn at any byte. A rename, a link or an unlink happens or does not; it is never half done.
"""

import contextlib
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

SECTOR = 512
Part = Literal["nothing", "all", "first", "some", "sectors", "torn"]
PARTS: tuple[Part, ...] = Part.__args__  # type: ignore[attr-defined]
LONG_AGO_S = 1_000_000_000


class Write(msgspec.Struct, frozen=True):
    file: int
    offset: int
    data: bytes


class Cut(msgspec.Struct, frozen=True):
    """A truncation to `size`, or zeros up to it."""

    file: int
    size: int


class Named(msgspec.Struct, frozen=True):
    """`name` in `folder` stands for `file` from now on; `instead_of`: the name it had there before."""

    folder: int
    name: str
    file: int
    is_folder: bool = False
    instead_of: str | None = None


class Unnamed(msgspec.Struct, frozen=True):
    folder: int
    name: str


class Synced(msgspec.Struct, frozen=True):
    """All that was done to `file` (or folder) before step `begun` survives from now on."""

    file: int
    begun: int


class Told(msgspec.Struct, frozen=True):
    """Somebody was told; what was done before must bear it out."""

    what: str


class Killed(BaseException):
    """The process died here; what it had done is done, though not synced."""


Step = Write | Cut | Named | Unnamed | Synced | Told


class _Opened:
    """A descriptor: of which file, where the next write goes, and who opened it."""

    def __init__(self, file: int, descriptor: int) -> None:
        self.file, self.position = file, 0
        self.thread = threading.get_ident()
        self.identity = identity(descriptor)


def identity(descriptor: int) -> tuple[int, int]:
    """Which file a descriptor is of, whatever its name."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


class Recorder:
    """While installed, every change below `root` is a step. The changes are made as well, except that syncing costs nothing: the model
    says what it means. Threads may work at once: a sync covers what had been done when it began."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.steps: list[Step] = []
        self.start: dict[int, bytes] = {}
        """Contents of the files that were there, which are durable."""
        self.folders: dict[int, dict[str, int]] = {}
        self._mutex = threading.RLock()
        self._numbers: dict[Path, int] = {}
        self._descriptors: dict[int, _Opened] = {}
        self._next = 0
        self._dies: dict[int, int] = {}
        self._real: dict[str, Any] = {}
        self._adopt(self.root)

    def _adopt(self, folder: Path) -> int:
        number = self._new()
        self._numbers[folder] = number
        entries: dict[str, int] = {}
        self.folders[number] = entries
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                entries[path.name] = self._adopt(path)
            else:
                known = self._numbers[path] = self._new()
                entries[path.name] = known
                self.start[known] = path.read_bytes()
        return number

    def _new(self) -> int:
        self._next += 1
        return self._next

    def told(self, what: str) -> None:
        with self._mutex:
            self.steps.append(Told(what))

    def killed_after(self, steps: int, work: Callable[[], object]) -> bool:
        """Run `work`, and kill whoever runs it when this thread has made so many steps. Whether it came to that."""
        thread = threading.get_ident()
        self._dies[thread] = steps
        try:
            work()
        except Killed:
            return True
        finally:
            del self._dies[thread]
            self._let_go(thread)
        return False

    def _let_go(self, thread: int) -> None:
        """The kernel closes what the dead had open, and so lets go of their locks."""
        with self._mutex:
            for descriptor, opened in list(self._descriptors.items()):
                if opened.thread != thread:
                    continue
                del self._descriptors[descriptor]
                # A file object may have closed it by itself, and the number be another's by now.
                with contextlib.suppress(OSError):
                    if identity(descriptor) == opened.identity:
                        self._real["close"](descriptor)

    def _alive(self) -> None:
        """Asked before each step. Raises Killed."""
        thread = threading.get_ident()
        if thread in self._dies:
            self._dies[thread] -= 1
            if self._dies[thread] < 0:
                raise Killed

    def _dead(self) -> bool:
        return self._dies.get(threading.get_ident(), 0) < 0

    def install(self, patch: pytest.MonkeyPatch) -> None:
        modelled: dict[str, Callable[..., Any]] = {
            "open": self._open, "close": self._close, "write": self._write, "pwrite": self._pwrite,
            "ftruncate": self._ftruncate, "posix_fallocate": self._set_apart, "fsync": self._sync, "fdatasync": self._sync, "rename": self._rename,
            "replace": self._rename, "link": self._link, "unlink": self._unlink, "remove": self._unlink,
            "mkdir": self._mkdir, "rmdir": self._rmdir,
        }  # fmt: skip
        for name in (*modelled, "pwritev", "writev", "truncate", "symlink", "sendfile"):
            self._real[name] = getattr(os, name)
            patch.setattr(os, name, modelled.get(name) or self._unknown(name))

    def _unknown(self, name: str) -> Callable[..., object]:
        """A call that the model does not know must not pass unnoticed."""

        def call(target: Any, *arguments: Any, **more: Any) -> object:
            ours = target in self._descriptors if isinstance(target, int) else self._below(target) is not None
            assert not ours, f"os.{name} below {self.root} is not in the model"
            return self._real[name](target, *arguments, **more)

        return call

    def _below(self, path: Any) -> Path | None:
        """The absolute path, where it lies below the root."""
        if isinstance(path, int):
            return None
        here = Path(os.path.abspath(os.fspath(path)))  # noqa: PTH100 - resolve() would follow links and ask the disk
        return here if here.is_relative_to(self.root) else None

    def _folder_of(self, path: Path) -> int:
        return self._numbers[path.parent]

    def _open(self, path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        here = self._below(path)
        if here is None:
            elsewhere = int(self._real["open"](path, flags, mode, **more))
            self._descriptors.pop(elsewhere, None)  # a number that a file object closed by itself
            return elsewhere
        assert not flags & (os.O_APPEND | os.O_SYNC | os.O_DSYNC) or flags & os.O_DIRECTORY, "not in the model"
        with self._mutex:
            existed = here.exists()
            if not existed or flags & os.O_TRUNC:
                self._alive()
            descriptor = int(self._real["open"](path, flags, mode, **more))
            if not existed:
                self._numbers[here] = self._new()
                self.steps.append(Named(self._folder_of(here), here.name, self._numbers[here]))
            elif flags & os.O_TRUNC:
                self.steps.append(Cut(self._numbers[here], 0))
            self._descriptors[descriptor] = _Opened(self._numbers[here], descriptor)
            return descriptor

    def _close(self, descriptor: int) -> None:
        with self._mutex:
            self._descriptors.pop(descriptor, None)
            self._real["close"](descriptor)

    def _write(self, descriptor: int, data: Any) -> int:
        with self._mutex:
            known = self._descriptors.get(descriptor)
            if known is not None:
                self._alive()
            done = int(self._real["write"](descriptor, data))
            if known is not None:
                self.steps.append(Write(known.file, known.position, bytes(data[:done])))
                known.position += done
            return done

    def _pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        with self._mutex:
            known = self._descriptors.get(descriptor)
            if known is not None:
                self._alive()
            done = int(self._real["pwrite"](descriptor, data, offset))
            if known is not None:
                self.steps.append(Write(known.file, offset, bytes(data[:done])))
            return done

    def _ftruncate(self, descriptor: int, size: int) -> None:
        with self._mutex:
            known = self._descriptors.get(descriptor)
            if known is not None:
                self._alive()
            self._real["ftruncate"](descriptor, size)
            if known is not None:
                self.steps.append(Cut(known.file, size))

    def _set_apart(self, descriptor: int, offset: int, count: int) -> None:
        with self._mutex:
            known = self._descriptors.get(descriptor)
            if known is not None:
                self._alive()
            self._real["posix_fallocate"](descriptor, offset, count)
            if known is not None:
                self.steps.append(Cut(known.file, os.fstat(descriptor).st_size))

    def _sync(self, descriptor: int) -> None:
        with self._mutex:
            known = self._descriptors.get(descriptor)
            assert known is not None, "something is synced that the model did not see opened"
            self._alive()
            begun = len(self.steps)
        # Here another thread may do what this sync does not cover.
        with self._mutex:
            self.steps.append(Synced(known.file, begun))

    def _rename(self, old: Any, new: Any, **more: Any) -> None:
        source, target = self._below(old), self._below(new)
        if source is None or target is None:
            assert source is target, "renamed across the border of the model"
            self._real["rename"](old, new, **more)
            return
        assert source.parent == target.parent, "a rename from one folder to another is not in the model"
        with self._mutex:
            self._alive()
            self._real["rename"](old, new, **more)
            number = self._numbers[target] = self._numbers.pop(source)
            self.steps.append(Named(self._folder_of(target), target.name, number, instead_of=source.name))

    def _link(self, old: Any, new: Any, **more: Any) -> None:
        source, target = self._below(old), self._below(new)
        with self._mutex:
            if target is not None:
                self._alive()
            self._real["link"](old, new, **more)
            if source is not None and target is not None:
                number = self._numbers[target] = self._numbers[source]
                self.steps.append(Named(self._folder_of(target), target.name, number))

    def _unlink(self, path: Any, **more: Any) -> None:
        here = self._below(path)
        if here is not None and self._dead():
            return  # the dead clean nothing up
        with self._mutex:
            if here is not None:
                self._alive()
            self._real["unlink"](path, **more)
            if here is not None:
                del self._numbers[here]
                self.steps.append(Unnamed(self._folder_of(here), here.name))

    def _mkdir(self, path: Any, mode: int = 0o777, **more: Any) -> None:
        here = self._below(path)
        with self._mutex:
            if here is not None:
                self._alive()
            self._real["mkdir"](path, mode, **more)
            if here is not None:
                number = self._numbers[here] = self._new()
                self.steps.append(Named(self._folder_of(here), here.name, number, is_folder=True))

    def _rmdir(self, path: Any, **more: Any) -> None:
        here = self._below(path)
        if here is not None and self._dead():
            return  # the dead clean nothing up
        with self._mutex:
            if here is not None:
                self._alive()
            self._real["rmdir"](path, **more)
            if here is not None:
                del self._numbers[here]
                self.steps.append(Unnamed(self._folder_of(here), here.name))


class Loss(msgspec.Struct):
    """What one power loss took: steps that were done, not synced, and are not there (or not whole)."""

    writes: int = 0
    names: int = 0
    torn: int = 0


class _Thing:
    """A file or folder: what survives for certain, and what was done since, with the number of its step."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.entries: dict[str, int] = {}
        self.since: list[tuple[int, Step]] = []


def disk_after(recorder: Recorder, steps: int, chance: random.Random, target: Path) -> Loss:
    """Power was lost after the first `steps` steps: `target` is made, one of the disks that may then be found."""
    things = _until(recorder, steps)
    folders = _folders(recorder, steps)
    loss = Loss()
    for number, thing in sorted(things.items()):
        part = chance.choice(PARTS)
        if number in folders:
            _lose_names(thing, part, chance, loss)
        else:
            _lose_writes(thing, part, chance, loss)
    _lay_down(things, folders, 1, target)
    return loss


def _until(recorder: Recorder, steps: int) -> dict[int, _Thing]:
    things: dict[int, _Thing] = {}

    def thing(number: int) -> _Thing:
        return things.setdefault(number, _Thing())

    for number, content in recorder.start.items():
        thing(number).content[:] = content
    for number, entries in recorder.folders.items():
        thing(number).entries.update(entries)
    for position, step in enumerate(recorder.steps[:steps]):
        match step:
            case Write(file=number) | Cut(file=number):
                thing(number).since.append((position, step))
            case Named(folder=number) | Unnamed(folder=number):
                thing(number).since.append((position, step))
                if isinstance(step, Named):
                    thing(step.file)
            case Synced(file=number, begun=begun):
                synced = thing(number)
                for done, earlier in synced.since:
                    if done < begun:
                        _apply(synced, earlier)
                synced.since = [each for each in synced.since if each[0] >= begun]
            case Told():
                pass
    return things


def _folders(recorder: Recorder, steps: int) -> set[int]:
    made = {step.file for step in recorder.steps[:steps] if isinstance(step, Named) and step.is_folder}
    return made | set(recorder.folders)


def _apply(thing: _Thing, step: Step) -> None:
    match step:
        case Write(offset=offset, data=data):
            if len(thing.content) < offset:
                thing.content.extend(bytes(offset - len(thing.content)))
            thing.content[offset : offset + len(data)] = data
        case Cut(size=size):
            del thing.content[size:]
            thing.content.extend(bytes(size - len(thing.content)))
        case Named(name=name, file=number, instead_of=old):
            if old is not None and thing.entries.get(old) in (number, None):
                thing.entries.pop(old, None)
            thing.entries[name] = number
        case Unnamed(name=name):
            thing.entries.pop(name, None)
        case Synced() | Told():
            raise AssertionError("nothing that is lost or kept")


def _lose_names(thing: _Thing, part: Part, chance: random.Random, loss: Loss) -> None:
    steps = [step for _, step in thing.since]
    kept = _kept(steps, part, chance)
    loss.names += len(steps) - len(kept)
    for step in kept:
        _apply(thing, step)


def _lose_writes(thing: _Thing, part: Part, chance: random.Random, loss: Loss) -> None:
    steps = [step for _, step in thing.since]
    kept = _kept(steps, part, chance)
    loss.writes += len(steps) - len(kept)
    for position, step in enumerate(kept):
        if not isinstance(step, Write) or part not in ("sectors", "torn"):
            _apply(thing, step)
        elif part == "sectors":
            for piece in _sectors(step):
                if chance.random() < 0.5:
                    _apply(thing, piece)
                else:
                    loss.torn += 1
        else:
            last = position == len(kept) - 1
            _apply(thing, _torn(step, chance) if last else step)
            loss.torn += last


def _kept(steps: list[Step], part: Part, chance: random.Random) -> list[Step]:
    match part:
        case "nothing":
            return []
        case "first" | "torn":
            return steps[: chance.randint(0, len(steps))]
        case "some":
            return [step for step in steps if chance.random() < 0.5]
        case _:
            return steps


def _sectors(write: Write) -> list[Write]:
    """The write in pieces that end where sectors do."""
    pieces: list[Write] = []
    position = 0
    while position < len(write.data):
        end = min(len(write.data), position + SECTOR - (write.offset + position) % SECTOR)
        pieces.append(Write(write.file, write.offset + position, write.data[position:end]))
        position = end
    return pieces


def _torn(write: Write, chance: random.Random) -> Write:
    return Write(write.file, write.offset, write.data[: chance.randint(0, len(write.data))])


def _lay_down(things: dict[int, _Thing], folders: set[int], number: int, target: Path) -> None:
    target.mkdir(parents=True)
    for name, each in things[number].entries.items():
        if each in folders:
            _lay_down(things, folders, each, target / name)
        else:
            file = target / name
            file.write_bytes(things[each].content)
            os.utime(file, (LONG_AGO_S, LONG_AGO_S))  # whoever wrote it is long gone
