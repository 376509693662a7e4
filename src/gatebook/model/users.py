"""Which user of the system each room runs as, where `[users]` says so: then no room can read or write what is another's."""

import msgspec


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user with one group. `name`: as the configuration says it; an account of that name need not exist where it is a number."""

    name: str
    uid: int
    gid: int


class Users(msgspec.Struct, frozen=True, kw_only=True):
    """One user for each room, no two the same, none of them root. `supervisor`: who starts the rooms; root, or one who may change its user.

    `runner` is there where a server is a command, `meter` where numbers are shown."""

    supervisor: Account
    gate: Account
    sealer: Account
    desk: Account
    runner: Account | None = None
    meter: Account | None = None

    def of(self, room: str) -> Account:
        """The account of a room by its name (`desk`, `gate-0`, …). Raises ValueError where it has none."""
        account = self.rooms().get(room.partition("-")[0])
        if account is None:
            raise ValueError(f"[users] names no user for {room}")
        return account

    def rooms(self) -> dict[str, Account]:
        """Kind of room → its account."""
        named: dict[str, Account | None] = {
            "gate": self.gate,
            "sealer": self.sealer,
            "desk": self.desk,
            "runner": self.runner,
            "meter": self.meter,
        }
        return {kind: account for kind, account in named.items() if account is not None}
