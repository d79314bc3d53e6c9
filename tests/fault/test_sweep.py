"""
kill -9 at every durable step of a launch, a stop and a removal, and once more during the
recovery: what was acknowledged is kept, and there is exactly one container, or none.
"""

import pytest

from homeport.server.crashpoints import CrashPoint
from tests.fault.conftest import MakeHome
from tests.fault.story import Story
from tests.fault.test_eviction_sweep import STEPS
from tests.sdk import Sdk

pytestmark = pytest.mark.root_on_process

# How often the server has died once the job runs, has stopped and is archived. Two is the most: where
# the recovery comes to the same point again, the server that recovers dies as well.
DEATHS = {
    CrashPoint.PENDING: (2, 2, 2),
    CrashPoint.PLACED: (1, 1, 1),
    CrashPoint.LAUNCH: (2, 2, 2),
    CrashPoint.LAUNCHED: (1, 1, 1),
    CrashPoint.OBSERVED: (1, 2, 2),
    CrashPoint.STOP: (0, 2, 2),
    CrashPoint.STOPPED: (0, 1, 1),
    CrashPoint.SEALED: (0, 2, 2),
    CrashPoint.REMOVED: (0, 1, 1),
    CrashPoint.GROUP_REMOVED: (0, 1, 1),
    CrashPoint.ARCHIVE: (0, 0, 2),
    CrashPoint.ARCHIVED: (0, 0, 1),
}
# The process runtime has no networks.
ON_PROCESS = [point for point in DEATHS if point is not CrashPoint.GROUP_REMOVED]
AFTER_START = [point for point, (running, _, archived) in DEATHS.items() if running < archived]
CASES = [
    *(pytest.param("simulated", point, id=f"simulated-{point}") for point in DEATHS),
    *(pytest.param("process", point, id=f"process-{point}") for point in ON_PROCESS),
    *(pytest.param("docker", point, id=f"docker-{point}", marks=pytest.mark.docker) for point in DEATHS),
]


def workers_for(point: CrashPoint) -> int:
    """Only a job of several workers has a network of its own."""
    return 2 if point is CrashPoint.GROUP_REMOVED else 1


@pytest.mark.parametrize(("runtime", "point"), CASES)
def test_job_lives_once_and_leaves_nothing_when_the_server_dies(
    make_home: MakeHome, sdk: Sdk, runtime: str, point: CrashPoint
) -> None:
    story = Story(make_home(runtime), sdk, point, workers_for(point))
    running, stopped, archived = DEATHS[point]
    story.reach("Running", deaths=running)
    story.check_running()
    story.stop()
    story.reach("Stopped", deaths=stopped)
    story.check_stopped()
    story.delete()
    story.reach("Archived", deaths=archived)
    story.check_archived()


@pytest.mark.parametrize("point", AFTER_START)
def test_job_leaves_nothing_when_it_is_deleted_while_it_runs_and_the_server_dies(
    make_home: MakeHome, sdk: Sdk, point: CrashPoint
) -> None:
    running, _, archived = DEATHS[point]
    story = Story(make_home("simulated"), sdk, point, workers_for(point))
    story.reach("Running", deaths=running)
    story.delete()
    story.reach("Archived", deaths=archived)
    story.check_archived()


def test_every_crash_point_is_swept() -> None:
    assert set(DEATHS) | set(STEPS) == set(CrashPoint)
    assert all(any(deaths) for deaths in DEATHS.values())
