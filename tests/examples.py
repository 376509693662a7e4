"""How many examples a property is tried with: all of them, or a few where somebody waits for the answer (`make check`)."""

from hypothesis import HealthCheck, settings

ALL = "without-a-clock"
A_FEW = "a-few"

# A busy machine is no fault of the code: nothing here is judged by the clock.
settings.register_profile(ALL, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(A_FEW, settings.get_profile(ALL), max_examples=15)


def up_to(count: int) -> int:
    """`count`, for a property that needs more or fewer than the usual hundred; at most as many as others where a few are tried.
    A number given to `settings` outright would hold in every profile."""
    few = settings.get_profile(A_FEW).max_examples
    return min(count, few) if settings.get_current_profile_name() == A_FEW else count
