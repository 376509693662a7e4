"""Which core the servers get, by what the disk interrupts."""

import pytest

from bench.processes import chosen, disk_interrupts

TABLE = """           CPU0       CPU1
 24:          1          0  IO-APIC   5-edge      ACPI:Ged
 36:          7   11654946  PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0
 37:       3000          0  PCI-MSIX-0000:00:03.0   1-edge      virtio3-rx
 40:         10         20  PCI-MSIX-0000:00:05.0   0-edge      nvme0q1
LOC:   15944359    3542105   Local timer interrupts
ERR:          0
"""


def test_only_disks_count() -> None:
    assert disk_interrupts(TABLE) == {0: 17, 1: 11654966}


@pytest.mark.parametrize(
    ("cores", "interrupts", "load_and_servers"),
    [
        ([0, 1], {0: 17, 1: 11654966}, (1, 0)),
        ([0, 1], {0: 11654966, 1: 17}, (0, 1)),
        ([0, 1], {0: 900, 1: 1000}, (0, 1)),
        ([0, 1], {}, (0, 1)),
        ([2, 5, 7], {2: 0, 5: 10}, (5, 2)),
        ([3], {}, (3, 3)),
    ],
)
def test_the_servers_get_the_core_that_the_disk_leaves_alone(
    cores: list[int], interrupts: dict[int, int], load_and_servers: tuple[int, int]
) -> None:
    assert chosen(cores, interrupts) == load_and_servers
