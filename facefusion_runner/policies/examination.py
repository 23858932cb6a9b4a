"""Asks every installed policy about a task; what cannot be asked refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from typing import cast

from facefusion_runner.errors import ConsentError, PolicyError
from facefusion_runner.pipeline.plan import Plan
from facefusion_runner.policies import GROUP, Policy, Sample, Verdict
from facefusion_runner.policies.sampling import sample
from facefusion_runner.settings import Settings


def require_consent(settings: Settings) -> None:
    """Raises ConsentError where consent must be stated and is not."""
    if settings.require_consent and not settings.consent:
        raise ConsentError(
            "REQUIRE_CONSENT asks for a statement that the persons shown agree; if they do, state it with "
            '--consent, CONSENT=true or "consent": true'
        )


def examine(settings: Settings, plan: Plan) -> tuple[Verdict, ...]:
    """What each installed policy says; nothing is decoded where there is none.

    Raises PolicyError when one refuses, fails or cannot be loaded; its `detail` holds all verdicts. Raises
    InputError or MediaError for inputs that cannot be decoded.
    """
    points = sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name)
    if not points:
        return ()
    samples = sample(settings, plan)
    verdicts = tuple(_verdict(point, samples) for point in points)
    refusals = [f"{verdict.policy}: {verdict.reason}" for verdict in verdicts if not verdict.allowed]
    if refusals:
        raise PolicyError(f"refused by policy {'; '.join(refusals)}", [asdict(each) for each in verdicts])
    return verdicts


def _verdict(point: metadata.EntryPoint, samples: Sequence[Sample]) -> Verdict:
    # The code is another's: whatever it raises, sys.exit included, is no permission.
    name = point.name
    try:
        policy = cast(Policy, point.load()())
        name = _line(policy.name)
        ask = policy.examine
    except (Exception, SystemExit) as error:
        origin = point.dist.name if point.dist else "an installed package"
        return Verdict(name, False, f"{point.value} of {origin} cannot be loaded: {_described(error)}")
    try:
        answer: object = ask(samples)
    except (Exception, SystemExit) as error:
        return Verdict(name, False, f"it failed: {_described(error)}")
    if answer is None:
        return Verdict(name, True, None)
    if isinstance(answer, str):
        return Verdict(name, False, _line(answer) or "no reason given")
    return Verdict(name, False, f"it answered {type(answer).__name__}, neither a reason nor None")


def _described(error: BaseException) -> str:
    return _line(f"{type(error).__name__}: {error}")


def _line(text: str) -> str:
    return " ".join(str(text).split())
