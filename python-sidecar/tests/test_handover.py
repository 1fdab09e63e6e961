"""The device comes back to serving, whatever fails on the way, with every published adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.serving.handover import Handover, State

PUBLISHED = {"triage@1": Path("/one"), "triage@2": Path("/two")}


class Engine:
    """Fails at the calls in `faults`, each as often as it is listed; forgets adapters where `forgetful`."""

    def __init__(self, *faults: str, forgetful: bool = False) -> None:
        self.faults = list(faults)
        self.forgetful = forgetful
        self.calls: list[str] = []
        self.loaded = set(PUBLISHED)
        self.serving = True

    def _do(self, call: str) -> None:
        self.calls.append(call)
        if call in self.faults:
            self.faults.remove(call)
            raise TimeoutError(f"{call} was not done in time")

    def pause(self) -> None:
        self._do("pause")
        self.serving = False

    def sleep(self) -> None:
        self._do("sleep")
        if self.forgetful:
            self.loaded = set()

    def wake(self) -> None:
        self._do("wake")

    def resume(self) -> None:
        self._do("resume")
        self.serving = True

    def restart(self) -> None:
        self._do("restart")
        self.loaded = set()
        self.serving = False

    def adapters(self) -> set[str]:
        return set(self.loaded)

    def load(self, name: str, folder: Path) -> None:
        assert PUBLISHED[name] == folder
        self._do("load")
        self.loaded.add(name)


def test_the_trainer_has_the_device_while_the_engine_sleeps() -> None:
    engine = Engine()
    handover = Handover(engine)
    with handover.device(PUBLISHED):
        assert handover.state is State.ASLEEP
        assert not engine.serving
    assert engine.calls == ["pause", "sleep", "wake", "resume"]
    assert handover.state is State.SERVING


@pytest.mark.parametrize(
    ("engine", "trains"),
    [
        (Engine(forgetful=True), True),
        (Engine("wake"), True),
        (Engine("resume"), True),
        (Engine("load", forgetful=True), True),
        (Engine("pause"), False),
        (Engine("sleep"), False),
        (Engine("sleep", "wake"), False),
        (Engine("pause", "wake", "resume"), False),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_serving_is_back_with_all_adapters(engine: Engine, trains: bool, fails: bool) -> None:
    again = Engine(*engine.faults, forgetful=engine.forgetful)
    handover = Handover(again)
    trained = False
    try:
        with handover.device(PUBLISHED):
            trained = True
            if fails:
                raise RuntimeError("out of memory")
    except RuntimeError:
        assert trained and fails
    except SidecarError as error:
        assert error.code == "handover_refused"
    assert trained is trains
    assert again.serving
    assert again.loaded == set(PUBLISHED)
    assert handover.state is State.SERVING
    with handover.device(PUBLISHED):
        pass


@pytest.mark.parametrize("faults", [("wake", "restart"), ("resume", "restart"), ("resume", "resume")])
def test_an_engine_that_does_not_come_back_is_told_at_once_and_takes_no_more_jobs(faults: tuple[str, ...]) -> None:
    handover = Handover(Engine(*faults))
    with pytest.raises(SidecarError, match="did not come back"), handover.device(PUBLISHED):
        pass
    assert handover.state is State.LOST
    with pytest.raises(SidecarError, match="did not come back"), handover.device(PUBLISHED):
        pytest.fail("the device was handed over")
