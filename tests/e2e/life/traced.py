"""`gatebook serve` under strace: `traced.py FILE` writes the system calls that matter for the order of records and bytes. The traced process
keeps this one's number, so that signals reach it; the tracer ends when the last of its children has."""

import os
import sys

TRACED = "pwrite64,pwritev,pwritev2,fdatasync,fsync,write,writev,sendto,sendmsg"
LONGEST = "1048576"

if __name__ == "__main__":
    os.execvp(
        "strace",
        ["strace", "-D", "-f", "--seccomp-bpf", "-yy", "-xx", "-s", LONGEST, "-e", f"trace={TRACED}", "-e", "signal=none",
         "-o", sys.argv[1], sys.executable, "-m", "gatebook", "serve"],
    )  # fmt: skip
