"""A board's figures of the last minutes, as the page's server keeps them."""

from __future__ import annotations

from itertools import pairwise

from boardwarden.models import Cpu, Memory, Status
from boardwarden.web.past import Past

NOW = 1_800_000_000.0


def _past(*times):
    past = Past()
    for live, at in enumerate(times, 1):
        past.add(at, Status(memory=Memory(live_bytes=live), cpu=Cpu(usage=0.5)))
    return past


def test_times_have_their_seconds_however_long_the_server_runs():
    times = [NOW + 300 * 86_400 + each for each in range(5)]
    assert _past(*times).series("live") == [*zip(times, (1, 2, 3, 4, 5), strict=True)]


def test_a_clock_that_is_set_back_drops_what_is_later_and_goes_on():
    past = _past(NOW, NOW + 1, NOW + 2, NOW - 3600, NOW - 3599)
    assert past.series("live") == [(NOW - 3600, 4), (NOW - 3599, 5)]


def test_there_is_a_point_a_second_and_the_oldest_go():
    past = _past(*(NOW + each / 4 for each in range(4 * 700)))
    times = [at for at, _ in past.series("live")]
    assert 600 <= len(times) <= 660
    assert times[-1] == NOW + 699
    assert {later - at for at, later in pairwise(times)} == {1.0}
    assert past.series("largest") == []
