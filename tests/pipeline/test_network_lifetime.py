"""No family keeps its networks when its task is over."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from facefusion_runner.errors import NoFaceError
from facefusion_runner.models.session import Session
from tests.pipeline.conftest import SmallTask
from tests.pipeline.test_generator_families import EXTRAS, GENERATORS, options_of


@pytest.mark.parametrize("name", [*GENERATORS, *EXTRAS])
def test_networks_go_when_their_task_ends_without_the_garbage_collector(
    task: SmallTask, family_models: Path, name: str
) -> None:
    options = options_of(name if name in GENERATORS else "my_inswapper") | EXTRAS.get(name, {})
    gc.collect()
    before = [each for each in gc.get_objects() if isinstance(each, Session)]
    gc.disable()
    try:
        with pytest.raises(NoFaceError):
            task.run(
                **{
                    "model_root": family_models,
                    "detect_score": 1.0,
                    "require_face": True,
                    "trim_end": "0.03",
                },
                **options | {"source": options.get("source", task.options["source"])},
            )
        held = [each for each in gc.get_objects() if isinstance(each, Session)]
        assert [each.entry.id for each in held if not any(each is other for other in before)] == []
    finally:
        gc.enable()
