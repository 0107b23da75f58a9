"""Duration of fuzzing: a limited number of examples in `make test`, `--hypothesis-profile=long` in `make fuzz`."""

from datetime import timedelta

from hypothesis import HealthCheck, settings

_SLOW_MACHINE = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]

settings.register_profile("default", max_examples=60, deadline=None, suppress_health_check=_SLOW_MACHINE)
settings.register_profile(
    "long", max_examples=20_000, deadline=timedelta(seconds=30), suppress_health_check=_SLOW_MACHINE
)
