"""One task from its settings to its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from facefusion_runner.blending.modes import BLEND_MODES
from facefusion_runner.cache.task_cache import CachePolicy, TaskCache
from facefusion_runner.cache.task_id import new_task_id
from facefusion_runner.errors import Cancelled, NoFaceError
from facefusion_runner.faces.analysis import find_faces_of_still
from facefusion_runner.faces.state import State
from facefusion_runner.faces.tracking import FaceTracker
from facefusion_runner.faces.types import Face, Picture
from facefusion_runner.media.frame import Frame
from facefusion_runner.media.packets import Packets
from facefusion_runner.media.pictures import read_picture, write_picture
from facefusion_runner.media.reader import VideoReader
from facefusion_runner.media.still import Still
from facefusion_runner.media.writer import VideoWriter
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.session import SessionFactory, SessionOpener
from facefusion_runner.models.store import open_models
from facefusion_runner.pipeline.artifacts import Artifacts
from facefusion_runner.pipeline.checkpoints import STRETCH_SECONDS, Checkpoint, Checkpoints, fingerprint
from facefusion_runner.pipeline.enhancement import Enhancement
from facefusion_runner.pipeline.masking import Masking, MaskOptions
from facefusion_runner.pipeline.networks import NetworkLoader, Networks
from facefusion_runner.pipeline.people import Followed, measured, prepare_source, selector
from facefusion_runner.pipeline.plan import Plan, check_sources, make_plan
from facefusion_runner.pipeline.preview import Preview
from facefusion_runner.pipeline.stages import (
    WAITING_FRAMES,
    Analysis,
    Blending,
    FrameTask,
    Generation,
)
from facefusion_runner.pipeline.threads import Pipeline, Stage
from facefusion_runner.progress import Meter, Progress, Reporter
from facefusion_runner.settings import Settings
from facefusion_runner.signals import Stop

Stages = Mapping[str, Analysis | Generation | Masking | Enhancement | Blending]


@dataclass(frozen=True, slots=True)
class Result:
    """What a task did."""

    output: Path
    frames: int
    faces: int
    """Faces that were swapped, summed over the frames."""
    seconds: float
    phase_seconds: Mapping[str, float]
    """How long the task was loading, preparing, swapping and finishing."""
    stage_seconds: Mapping[str, float]
    """Time each stage was at work while swapping; the stages work side by side."""
    network_seconds: Mapping[str, float]
    """Time inside each network, by model id."""
    network_calls: Mapping[str, int]
    """How often each network ran."""
    load_seconds: Mapping[str, float]
    """How long each network took to load, those left out that were loaded already."""
    warnings: tuple[str, ...]


def swap(
    settings: Settings,
    reporter: Reporter,
    stop: Stop,
    *,
    task_id: str | None = None,
    admit: Callable[[Plan], object] = lambda plan: None,
    sessions: SessionOpener | None = None,
    preview: Path | None = None,
) -> Result:
    """Puts the source's face on the target and writes the output.

    What can be checked is checked before the first frame is decoded. Raises a RunnerError; then nothing
    is at the output path that was not there before, and the task's cache is gone unless the settings
    keep it. Setting `stop` cancels the task.

    `task_id` is what a task is called that the settings give no name. `admit` is shown the plan before the
    task's cache is opened; what it raises ends the task. `sessions` may give networks that are loaded
    already. `preview` is a JPEG that shows the newest finished frame.
    """
    started = time.monotonic()
    reporter.progress(Progress("checking"))
    plan = make_plan(settings)
    admit(plan)
    cache = TaskCache(
        settings.cache_root,
        settings.task_id or task_id or new_task_id(),
        _policy(settings),
        adopt=_resumable(settings, plan),
        stop=stop,
    )
    # Before the block: a lock on a slow filesystem may keep its beginning waiting, too.
    stop.on_abandon(cache.abandon_now)
    with cache:
        result = _Task(settings, plan, cache, reporter, stop, sessions, preview).run()
    return replace(result, seconds=time.monotonic() - started)


def _resumable(settings: Settings, plan: Plan) -> bool:
    """A film whose task has a name that another run can come back to."""
    return settings.task_id is not None and plan.target.kind == "video"


def _policy(settings: Settings) -> CachePolicy:
    return CachePolicy(
        auto_clear=settings.auto_clear_cache,
        keep=settings.cache_keep,
        grace_seconds=settings.cache_grace_seconds,
        ttl=settings.cache_ttl_seconds,
        shared=settings.cache_shared,
        artifacts=frozenset(settings.cache_artifacts),
    )


class _Task:
    """The work inside the task's cache."""

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        cache: TaskCache,
        reporter: Reporter,
        stop: Stop,
        sessions: SessionOpener | None,
        preview: Path | None,
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._segments = cache.path / "segments" if _resumable(settings, plan) else None
        self._artifacts = Artifacts(cache)
        self._sessions = sessions
        self._preview = None if preview is None else Preview(preview)
        self._reporter = reporter
        self._stop = stop
        self._warnings: list[str] = []
        self._phases: dict[str, float] = {}
        """When each phase began, on the monotonic clock."""
        self._frames = 0
        self._faces = 0

    def run(self) -> Result:
        self._enter("loading")
        networks = self._networks()
        check_sources(self._plan.sources, self._settings.generator, networks.generator.most_sources)
        self._enter("preparing")
        source = prepare_source(self._plan, networks, self._artifacts)
        select = selector(self._settings, networks)

        def find_in_still(picture: Picture, seconds: float) -> list[Face]:
            faces = find_faces_of_still(picture, networks.detector, networks.landmarker)
            return select.select(picture, measured(faces))

        if self._plan.target.kind == "video":
            people = Followed(
                FaceTracker(networks.detector, networks.landmarker, self._settings.detect_every), select
            )
            stages = self._stages(Analysis(people.find, people.state, self._stretch()), networks, source)
            self._swap_video(stages, people, [session.entry for session in networks.sessions])
        else:
            stages = self._stages(Analysis(find_in_still), networks, source)
            self._swap_picture(stages)
        return Result(
            output=self._plan.output,
            frames=self._frames,
            faces=self._faces,
            seconds=0.0,
            phase_seconds=self._phase_seconds(),
            stage_seconds={name: stage.watch.seconds for name, stage in stages.items()},
            network_seconds={session.entry.id: session.seconds for session in networks.sessions},
            network_calls={session.entry.id: session.calls for session in networks.sessions},
            load_seconds={
                session.entry.id: session.load_seconds
                for session in networks.sessions
                if session.load_seconds
            },
            warnings=tuple(self._warnings),
        )

    def _enter(self, phase: str) -> None:
        if self._stop.is_set():
            raise Cancelled("the task was cancelled")
        self._phases[phase] = time.monotonic()
        self._reporter.progress(Progress(phase))

    def _phase_seconds(self) -> dict[str, float]:
        ends = [*list(self._phases.values())[1:], time.monotonic()]
        return {phase: end - began for (phase, began), end in zip(self._phases.items(), ends, strict=True)}

    def _warn(self, message: str) -> None:
        if message not in self._warnings:
            self._warnings.append(message)
            self._reporter.warning(message)

    def _networks(self) -> Networks:
        settings = self._settings
        catalog, store = open_models(settings)
        opener = self._sessions or SessionFactory(settings.device, settings.threads, warn=self._warn)
        return NetworkLoader(settings, catalog, store, opener).open()

    def _stretch(self) -> int:
        """Frames between two checkpoints; 0: there are none."""
        if self._segments is None:
            return 0
        rate = self._settings.fps or self._plan.target.rate or 25
        return max(round(STRETCH_SECONDS * rate), 1)

    def _stages(self, analysis: Analysis, networks: Networks, source: Any) -> Stages:
        settings = self._settings
        enhancement = {}
        if networks.enhancer is not None:
            enhancement = {"enhancement": Enhancement(networks.enhancer, settings.enhancer_blend)}
        return {
            "analysis": analysis,
            "generation": Generation(networks.generator, source, settings.batch_size),
            "masking": Masking(self._masks(networks)),
            **enhancement,
            "blending": Blending(BLEND_MODES[settings.blend_mode], self._artifacts, settings.visible_label),
        }

    def _masks(self, networks: Networks) -> MaskOptions:
        settings, region = self._settings, networks.region
        return MaskOptions(
            tuple(kind for kind in settings.mask if kind in ("box", "hull")),
            settings.mask_feather,
            settings.mask_padding,
            networks.occlusion,
            region,
            settings.mask_regions or (region.usual_regions if region is not None else ()),
        )

    def _swap_video(
        self,
        stages: Stages,
        people: Followed,
        models: Sequence[ModelEntry],
    ) -> None:
        checkpoints = None
        if self._segments is not None:
            checkpoints = Checkpoints(self._segments, fingerprint(self._settings, models))
        with self._reader() as reader, self._writer(reader) as writer:
            if checkpoints is not None:
                self._resume(checkpoints, writer, people)
            self._warn_of(reader, writer)
            self._enter("swapping")
            meter = Meter(self._reporter, "swapping", reader.expected_frames, start=self._frames)

            def write(task: FrameTask) -> None:
                assert isinstance(task.frame, Frame)
                if task.state is not None and checkpoints is not None:
                    self._keep(checkpoints, writer.cut(), task.state)
                writer.write(task.frame)
                if self._preview is not None:
                    self._preview.offer(task.frame.bgr, task.frame.pixel_aspect)
                self._count(task)
                meter.advance()

            # A batch is made of frames that wait.
            waiting = max(WAITING_FRAMES, self._settings.batch_size)
            steps = [
                Stage(name, stage.run, waiting if name == "analysis" else WAITING_FRAMES)
                for name, stage in stages.items()
            ]
            Pipeline(islice(reader, self._frames, None), steps, write, WAITING_FRAMES).run(self._stop)
            self._check_faces()
            self._enter("finishing")
            writer.commit()
            self._warn_of(reader, writer)

    def _resume(self, checkpoints: Checkpoints, writer: VideoWriter, people: Followed) -> None:
        """Takes over what an earlier run of this task had finished."""
        last = None
        for last in checkpoints.earlier():
            writer.put(last.packets)
        if last is not None:
            people.restore(last.state)
            self._frames, self._faces = last.frames, last.faces
            name = self._settings.task_id
            self._warn(f"task {name} was cut short before; it goes on after {last.frames} frames")

    def _keep(self, checkpoints: Checkpoints, packets: Packets, state: State) -> None:
        try:
            checkpoints.add(Checkpoint(self._frames, self._faces, state, packets))
        except OSError as error:
            self._warn(f"a stretch cannot be kept for another run to go on from: {error.strerror or error}")

    def _warn_of(self, reader: VideoReader, writer: VideoWriter) -> None:
        """What is new since the last time."""
        target = self._plan.target.path
        for warning in (*reader.warnings, *(f"{target}: {text}" for text in writer.warnings)):
            self._warn(warning)

    def _reader(self) -> VideoReader:
        settings, target = self._settings, self._plan.target
        return VideoReader(
            target.path,
            target,
            trim_start=settings.trim_start,
            trim_end=settings.trim_end,
            fps=settings.fps,
            threads=settings.threads,
        )

    def _writer(self, reader: VideoReader) -> VideoWriter:
        settings = self._settings
        return VideoWriter(
            self._plan.output,
            self._plan.target,
            encoder=settings.video_encoder,
            quality=settings.quality,
            preset=settings.preset,
            time_base=reader.time_base,
            rate=settings.fps,
            start=reader.start,
            end=reader.end,
            threads=settings.threads,
            overwrite=settings.overwrite,
            provenance=settings.provenance,
            credentials=self._plan.credentials,
            in_stretches=self._segments is not None,
        )

    def _swap_picture(self, stages: Stages) -> None:
        target = self._plan.target
        still = Still(read_picture(target.path))
        if target.bit_depth > 8:
            self._warn(f"{target.path}: its {target.bit_depth} bits a channel become 8")
        if target.has_alpha:
            self._warn(f"{target.path}: what is transparent becomes white; the output has no transparency")
        self._enter("swapping")
        meter = Meter(self._reporter, "swapping", 1)
        steps = [Stage(name, stage.run, 1) for name, stage in stages.items()]
        Pipeline([still], steps, self._count, 1).run(self._stop)
        meter.advance()
        if self._preview is not None:
            self._preview.offer(still.bgr)
        self._check_faces()
        self._enter("finishing")
        settings = self._settings
        write_picture(
            self._plan.output,
            still.bgr,
            settings.quality,
            settings.overwrite,
            provenance=settings.provenance,
            credentials=self._plan.credentials,
        )

    def _count(self, task: FrameTask) -> None:
        self._frames += 1
        self._faces += len(task.faces)

    def _check_faces(self) -> None:
        if self._faces:
            return
        message = f"no face to replace was found in {self._plan.target.path}"
        if self._settings.require_face:
            raise NoFaceError(message)
        self._warn(message + "; the output shows the target as it is")
