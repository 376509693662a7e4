"""How a room without an event loop is told to stop."""

import signal
import threading


def stopped_by_sigterm() -> threading.Event:
    """Set once SIGTERM comes. To be called in the main thread, before there are others: a thread that does not block the signal would end by it."""
    stop = threading.Event()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    # Not a handler: it would run in the main thread, and where that is just looking at the event it holds the lock that `set` waits for.
    threading.Thread(target=_set_at_sigterm, args=(stop,), name="sigterm", daemon=True).start()
    return stop


def _set_at_sigterm(stop: threading.Event) -> None:
    signal.sigwait({signal.SIGTERM})
    stop.set()
