"""An installed policy sees what a task shows before anything is done, and what it refuses is not done."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facefusion_runner.pipeline.plan import make_plan
from facefusion_runner.policies.examination import examine
from tests.pipeline.conftest import SmallTask
from tests.policies.conftest import Bring, Swap, nothing_was_done


def test_a_refusal_is_one_line_and_exit_code_3_and_nothing_is_done(
    bring: Bring, swap: Swap, tmp_path: Path
) -> None:
    bring("strict", "return 'a face of\\n somebody known'")
    result = swap()
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == "error: refused by policy strict: a face of somebody known\n"
    assert nothing_was_done(tmp_path)


def test_a_program_reads_what_every_policy_said(bring: Bring, swap: Swap, tmp_path: Path) -> None:
    bring("a_strict", "return 'never'")
    bring("b_kind")
    bring("c_strict", "return 'not today'")
    result = swap("--progress", "json")
    assert result.returncode == 3
    assert json.loads(result.stdout.splitlines()[-1]) == {
        "error": {
            "code": "refused",
            "message": "refused by policy a_strict: never; c_strict: not today",
            "detail": [
                {"policy": "a_strict", "allowed": False, "reason": "never"},
                {"policy": "b_kind", "allowed": True, "reason": None},
                {"policy": "c_strict", "allowed": False, "reason": "not today"},
            ],
        }
    }
    assert nothing_was_done(tmp_path)


def test_policies_that_allow_are_shown_every_picture(bring: Bring, swap: Swap, tmp_path: Path) -> None:
    seen = tmp_path / "seen.npz"
    bring(
        "watching",
        f"numpy.savez({str(seen)!r}, *(s.picture for s in samples), said=[f'{{s.role}} {{s.seconds}}' "
        "for s in samples])",
        before="import numpy",
    )
    result = swap("--source", "target.png", "--reference", "source.png")
    assert result.returncode == 0 and (tmp_path / "out.png").exists()
    with np.load(seen) as stored:
        assert stored["said"].tolist() == ["source 0.0", "source 0.0", "reference 0.0", "target 0.0"]
        heights = [stored[f"arr_{number}"].shape for number in range(4)]
        assert heights == [(240, 320, 3), (300, 400, 3), (240, 320, 3), (300, 400, 3)]
        # Red, as it stands in BGR.
        assert stored["arr_3"][150, 200].tolist() == [30, 30, 220]


@pytest.mark.parametrize(
    ("examine", "before", "said"),
    [
        ("raise ValueError('two\\nlines')", "", "it failed: ValueError: two lines"),
        ("raise SystemExit(0)", "", "it failed: SystemExit: 0"),
        ("return False", "", "it answered bool, neither a reason nor None"),
        ("return ' '", "", "no reason given"),
        ("samples[0].picture[:] = 0", "", "it failed: ValueError: assignment destination is read-only"),
        (
            "return None",
            "import nowhere",
            "doubtful_module:Brought of doubtful_package cannot be loaded: "
            "ModuleNotFoundError: No module named 'nowhere'",
        ),
        (
            "return None",
            "raise SystemExit(0)",
            "doubtful_module:Brought of doubtful_package cannot be loaded: SystemExit: 0",
        ),
    ],
)
def test_a_policy_that_gives_no_clear_answer_refuses(
    bring: Bring, swap: Swap, tmp_path: Path, examine: str, before: str, said: str
) -> None:
    bring("doubtful", examine, before)
    result = swap()
    assert (result.returncode, result.stderr) == (3, f"error: refused by policy doubtful: {said}\n")
    assert nothing_was_done(tmp_path)


def test_without_a_policy_nothing_is_decoded(task: SmallTask) -> None:
    plan = make_plan(task.settings())
    gone = replace(plan, target=replace(plan.target, path=task.folder / "gone.mp4"))
    assert examine(task.settings(), gone) == ()


def test_where_consent_must_be_stated_a_task_without_it_is_refused(swap: Swap, tmp_path: Path) -> None:
    result = swap("--progress", "json", REQUIRE_CONSENT="true")
    assert result.returncode == 3
    error = json.loads(result.stdout.splitlines()[-1])["error"]
    assert error["code"] == "consent_required" and "--consent" in error["message"]
    assert result.stderr == f"error: {error['message']}\n"
    assert nothing_was_done(tmp_path)
    for arguments, env in ((["--consent"], {}), (["--overwrite"], {"CONSENT": "yes"})):
        assert swap(*arguments, REQUIRE_CONSENT="true", **env).returncode == 0
