"""A whole task: what comes out, and what is left behind."""

from __future__ import annotations

import gc
import subprocess
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from facefusion_runner.errors import (
    Cancelled,
    ConfigError,
    InputError,
    LicenceError,
    MediaError,
    ModelError,
    NoFaceError,
    RunnerError,
    StorageError,
)
from facefusion_runner.media.encoders import ENCODERS, unusable
from facefusion_runner.media.frame import Frame
from facefusion_runner.media.provenance import SOURCE_TYPE
from facefusion_runner.media.tracks import TrackCopier
from facefusion_runner.models.session import Session
from facefusion_runner.progress import Progress
from tests.pipeline.conftest import SmallTask, faces, read_clip, times, write_clip
from tests.support.tiny_models import draw_face, face_picture

WITH_MESH = {"generator": "plain_mesh", "landmarker": "usual_mesh"}


def change(task: SmallTask) -> np.ndarray[Any, Any]:
    """How much each frame's pixels changed, (frames, height, width)."""
    before, after = read_clip(task.folder / "target.mp4"), read_clip(task.output)
    assert len(before) == len(after)
    return np.array([cv2.absdiff(a, b).max(axis=2) for a, b in zip(before, after, strict=True)])


@pytest.mark.parametrize("options", [{}, WITH_MESH], ids=["identity", "mesh"])
def test_the_face_is_replaced_and_nothing_else(task: SmallTask, options: dict[str, Any]) -> None:
    source = face_picture()
    # What a face has and a plain ellipse has not: something to see inside.
    source[100:140:8] //= 4
    cv2.imwrite(str(task.options["source"][0]), source)
    result = task.run(**options, quality=100)
    changed = change(task)
    for number, frame in enumerate(changed):
        centre = 50 + 3 * number
        assert frame[50:70, centre - 10 : centre + 10].max() > 12
        assert frame[:, : centre - 42].max(initial=0) < 12
        assert frame[:, centre + 42 :].max(initial=0) < 12
    assert (result.frames, result.faces, result.output) == (12, 12, task.output)


def test_every_frame_keeps_its_time(task: SmallTask) -> None:
    task.run()
    assert times(task.output) == times(task.folder / "target.mp4")


def test_a_picture_is_swapped_into_a_picture(task: SmallTask) -> None:
    target, output = task.folder / "target.png", task.folder / "out.png"
    picture = face_picture((400, 300), 90)
    cv2.imwrite(str(target), picture)
    result = task.run(target=target, output=output)
    changed = cv2.absdiff(cv2.imread(str(output)), picture).max(axis=2)
    assert changed[140:160, 190:210].max() > 12
    changed[60:240, 120:280] = 0
    assert changed.max() == 0
    assert (result.frames, result.faces) == (1, 1)


@pytest.mark.parametrize(("name", "suffix"), [("target.png", ".jpg"), ("target.mp4", ".mp4")])
def test_an_output_says_that_faces_were_replaced_unless_told_not_to(
    task: SmallTask, name: str, suffix: str
) -> None:
    target = task.folder / name
    if not target.exists():
        cv2.imwrite(str(target), face_picture((400, 300), 90))
    marked, plain = task.folder / f"marked{suffix}", task.folder / f"plain{suffix}"
    task.run(target=target, output=marked)
    task.run(target=target, output=plain, provenance=False)
    assert SOURCE_TYPE.encode() in marked.read_bytes()
    assert SOURCE_TYPE.encode() not in plain.read_bytes()


def test_the_cache_is_gone_when_the_result_is_there(task: SmallTask) -> None:
    task.run()
    assert task.output.exists()
    assert task.caches() == []
    assert task.leftovers() == []


def test_progress_names_every_stage_and_ends_complete(task: SmallTask) -> None:
    task.run()
    assert task.reporter.stages() == ["checking", "loading", "preparing", "swapping", "finishing"]
    last = [event for event in task.reporter.events if event.stage == "swapping"][-1]
    assert (last.frames, last.total) == (12, 12)


def test_several_sources_of_one_person_are_averaged(task: SmallTask) -> None:
    other = task.folder / "target.mp4.png"
    cv2.imwrite(str(other), face_picture((200, 200), 60))
    one = task.run(quality=100)
    first = read_clip(task.output)
    both = (*task.options["source"], other)
    two = task.run(source=both, overwrite=True, quality=100)
    assert one.faces == two.faces == 12
    assert any((a != b).any() for a, b in zip(first, read_clip(task.output), strict=True))


def test_the_source_is_prepared_once_however_many_frames_there_are(task: SmallTask) -> None:
    result = task.run()
    assert result.network_calls["narrow"] == result.faces == 12
    assert result.network_calls["colours"] == 1


def test_frames_without_a_face_stay_as_they_are(task: SmallTask) -> None:
    frames = faces(10)
    for number in (3, 4, 5, 6, 7, 8, 9):
        frames[number] = np.full_like(frames[number], 70 + number)
    write_clip(task.folder / "target.mp4", frames)
    task.run(quality=100)
    assert change(task)[9].max() <= 6


def test_a_target_without_a_face_is_kept_with_a_warning(task: SmallTask) -> None:
    write_clip(task.folder / "target.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 4)
    result = task.run()
    assert result.faces == 0
    assert task.output.exists()
    assert any("no face" in warning for warning in result.warnings)


def test_a_target_without_a_face_fails_where_a_face_is_required(task: SmallTask) -> None:
    write_clip(task.folder / "target.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 4)
    with pytest.raises(NoFaceError):
        task.run(require_face=True)
    assert not task.output.exists()
    assert task.caches() == task.leftovers() == []


def test_a_source_without_a_face_fails_before_a_frame_is_swapped(task: SmallTask) -> None:
    blank = task.options["source"][0]
    cv2.imwrite(str(blank), np.full((64, 64, 3), 90, np.uint8))
    with pytest.raises(NoFaceError, match=r"source\.png"):
        task.run()
    assert "swapping" not in task.reporter.stages()
    assert not task.output.exists()
    assert task.caches() == task.leftovers() == []


def test_a_face_that_fills_the_source_is_found(task: SmallTask) -> None:
    tight = task.options["source"][0]
    cv2.imwrite(str(tight), face_picture((320, 240), 100)[60:180, 115:205])
    assert task.run().faces == 12


def test_non_square_pixels_do_not_squeeze_the_face(task: SmallTask) -> None:
    """The new face's region is as much wider in stored pixels as the pixels are narrower."""

    def region(aspect: tuple[int, int], scale: float) -> np.ndarray[Any, Any]:
        frame = np.full((120, 160, 3), 90, np.uint8)
        draw_face(frame, (80, 60), 40)
        if scale != 1:
            frame = cv2.resize(frame, (round(160 * scale), 120))

        def prepare(stream: Any) -> None:
            stream.codec_context.sample_aspect_ratio = Fraction(*aspect)

        write_clip(task.folder / "target.mp4", [frame] * 2, prepare=prepare)
        task.run(overwrite=True, quality=100)
        return change(task)[0] > 14

    square, narrow = region((1, 1), 1.0), region((2, 1), 0.5)
    widths = [np.ptp(np.nonzero(mask.any(axis=0))[0]) + 1 for mask in (square, narrow)]
    heights = [np.ptp(np.nonzero(mask.any(axis=1))[0]) + 1 for mask in (square, narrow)]
    assert widths[0] / widths[1] == pytest.approx(2.0, rel=0.15)
    assert heights[0] / heights[1] == pytest.approx(1.0, rel=0.1)


def test_trim_and_frame_rate_reach_the_output(task: SmallTask) -> None:
    result = task.run(trim_start="0.12", trim_end="0.36", fps="50")
    assert result.frames == 12
    assert times(task.output)[-1] < 0.24


def test_only_the_selected_face_is_replaced(task: SmallTask) -> None:
    assert task.run(select="0").faces == 12
    assert task.run(select="1", overwrite=True).faces == 0


@pytest.mark.parametrize("mode", ["alpha", "seamless", "pyramid"])
@pytest.mark.parametrize("mask", ["box", "hull", "box,hull"])
def test_every_blend_mode_works_with_every_mask(task: SmallTask, mode: str, mask: str) -> None:
    assert task.run(blend_mode=mode, mask=mask, landmarker="usual").faces == 12


def test_only_the_artifacts_asked_for_are_written_and_stay_where_the_cache_is_kept(task: SmallTask) -> None:
    asked = "frames,crops,landmarks,embeddings,masks,transforms,swapped"
    task.run(cache_artifacts=asked, cache_keep="always", task_id="look")
    cache = task.cache_root / "look"
    found = {path.name: len(list(path.iterdir())) for path in cache.iterdir() if path.is_dir()}
    assert found == {**dict.fromkeys(asked.split(","), 12), "embeddings": 1}
    crop = cv2.imread(str(cache / "crops" / "00000003-0.png"))
    assert crop.shape == (128, 128, 3)
    assert np.load(cache / "transforms" / "00000003-0.npy").shape == (2, 3)

    task.run(cache_artifacts="crops", cache_keep="always", task_id="less", overwrite=True)
    assert [path.name for path in (task.cache_root / "less").iterdir() if path.is_dir()] == ["crops"]


@pytest.mark.parametrize(
    ("landmarker", "shape"), [("usual", (68, 2)), ("usual_mesh", (468, 3)), ("auto", (5, 2))]
)
def test_the_landmarks_written_are_the_densest(
    task: SmallTask, landmarker: str, shape: tuple[int, int]
) -> None:
    task.run(landmarker=landmarker, cache_artifacts="landmarks", cache_keep="always", task_id="look")
    assert np.load(task.cache_root / "look" / "landmarks" / "00000003-0.npy").shape == shape


def test_a_generator_that_needs_a_mesh_finds_a_landmarker_that_gives_one(task: SmallTask) -> None:
    """Also where another stands before it in the catalog."""
    task.run(generator="plain_mesh", cache_artifacts="landmarks", cache_keep="always", task_id="look")
    assert np.load(task.cache_root / "look" / "landmarks" / "00000003-0.npy").shape == (468, 3)


def test_a_landmarker_without_a_mesh_is_refused_with_the_name_of_one_that_has_it(task: SmallTask) -> None:
    with pytest.raises(ConfigError) as caught:
        task.run(generator="mesh", landmarker="usual")
    assert str(caught.value).startswith(
        "generator mesh needs a mesh of 468 points, but landmarker usual gives none; "
        "name one that does with --landmarker: usual_mesh"
    )
    assert task.caches() == task.leftovers() == []


def test_a_failed_tasks_cache_is_kept_where_that_was_asked_for(task: SmallTask) -> None:
    with pytest.raises(MediaError):
        task.run(target=damaged(task), cache_keep="on-failure", task_id="broken")
    assert task.caches() == ["broken"]


def damaged(task: SmallTask) -> Path:
    """A target of 60 frames whose data is overwritten in the middle."""
    path = write_clip(task.folder / "target.mp4", faces(60, width=30), options={"g": "10"})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 600] = bytes(600)
    path.write_bytes(content)
    return path


def test_a_damaged_frame_fails_the_task_and_nothing_is_left(task: SmallTask) -> None:
    with pytest.raises(MediaError, match=r"target\.mp4: frame \d+"):
        task.run(target=damaged(task))
    assert not task.output.exists()
    assert task.caches() == task.leftovers() == []


@pytest.mark.parametrize("stage", ["checking", "loading", "preparing", "swapping", "finishing"])
def test_cancelling_at_any_stage_leaves_nothing(task: SmallTask, stage: str) -> None:
    record: Callable[[Progress], None] = task.reporter.progress

    def stop_at(event: Progress) -> None:
        record(event)
        if event.stage == stage and (stage != "swapping" or event.frames == 3):
            task.stop.set()

    task.reporter.progress = stop_at  # type: ignore[method-assign]
    if stage == "finishing":
        # The last frame is encoded: from here on the result is made, not thrown away.
        task.run()
        assert task.output.exists()
    else:
        with pytest.raises(Cancelled):
            task.run()
        assert not task.output.exists()
    assert task.caches() == task.leftovers() == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stage-")]


def test_a_failed_task_leaves_an_older_output_as_it_was(task: SmallTask) -> None:
    task.output.write_bytes(b"older result")
    with pytest.raises(MediaError):
        task.run(target=damaged(task), overwrite=True)
    assert task.output.read_bytes() == b"older result"


def test_two_tasks_with_targets_of_the_same_name_do_not_touch_each_other(
    tmp_path: Path, tiny_models: Path
) -> None:
    tasks = []
    for number in (0, 1):
        (tmp_path / str(number)).mkdir()
        small = SmallTask(tmp_path / str(number), tiny_models)
        small.cache_root = small.options["cache_root"] = tmp_path / "cache"
        frames = [frame if number == 0 else frame[:, ::-1] for frame in faces(30)]
        write_clip(tmp_path / str(number) / "target.mp4", frames)
        tasks.append(small)
    outcomes: list[int] = []
    threads = [
        threading.Thread(target=lambda each=each: outcomes.append(each.run(quality=100).faces))
        for each in tasks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [30, 30]
    for each in tasks:
        changed = change(each)
        assert np.median(changed[0]) < 3, "another target's frames"
    assert tasks[0].caches() == []


def test_an_output_that_appears_meanwhile_is_not_replaced_unasked(task: SmallTask) -> None:
    record: Callable[[Progress], None] = task.reporter.progress

    def appear(event: Progress) -> None:
        record(event)
        if event.stage == "finishing":
            task.output.write_bytes(b"another's")

    task.reporter.progress = appear  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="--overwrite"):
        task.run()
    assert task.output.read_bytes() == b"another's"
    assert task.caches() == task.leftovers() == []
    task.reporter.progress = record  # type: ignore[method-assign]
    assert task.run(overwrite=True).faces == 12


def test_a_picture_of_16_bits_says_that_it_becomes_8(task: SmallTask) -> None:
    target = task.folder / "target.mp4.png"
    cv2.imwrite(str(target), face_picture().astype(np.uint16) * 257)
    result = task.run(target=target, output=task.folder / "out.png")
    assert any("16 bits" in warning for warning in result.warnings)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem with 40 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", folder], capture_output=True)
    if made.returncode:
        pytest.skip("needs the right to mount a filesystem")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_too_small_for_the_output_is_said_before_work_starts(
    task: SmallTask, small_disk: Path
) -> None:
    write_clip(task.folder / "target.mp4", faces(90, (320, 240)))
    with pytest.raises(StorageError, match="MB free") as caught:
        task.run(output=small_disk / "out.mp4")
    assert "\n" not in str(caught.value)
    assert task.reporter.stages() == ["checking"]
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_is_too_small_for_the_artifacts_is_said_before_work_starts(
    task: SmallTask, small_disk: Path
) -> None:
    with pytest.raises(StorageError, match="artifacts"):
        task.run(cache_root=small_disk / "cache", cache_artifacts="frames,swapped")
    assert task.reporter.stages() == ["checking"]


def test_only_the_part_that_is_used_has_to_fit(task: SmallTask, small_disk: Path) -> None:
    write_clip(task.folder / "target.mp4", faces(90, (320, 240)))
    task.run(output=small_disk / "out.mp4", trim_end="0.08", quality=1)
    assert (small_disk / "out.mp4").exists()


def with_file(name: str, content: bytes) -> Callable[[SmallTask], dict[str, Any]]:
    def make(task: SmallTask) -> dict[str, Any]:
        (task.folder / name).write_bytes(content)
        return {"target": task.folder / name}

    return make


BAD_INPUT: dict[str, tuple[Callable[[SmallTask], dict[str, Any]], type[RunnerError], str]] = {
    "not a video": (with_file("t.mp4", b"hello " * 99), InputError, r"t\.mp4"),
    "zero bytes": (with_file("t.mp4", b""), InputError, "0 bytes"),
    "a directory": (lambda task: {"target": task.folder}, InputError, "directory"),
    "no such file": (lambda task: {"target": task.folder / "x.mp4"}, InputError, r"x\.mp4"),
    "a video as source": (lambda task: {"source": (task.options["target"],)}, InputError, "video"),
    "no such output folder": (lambda task: {"output": task.folder / "no" / "o.mp4"}, InputError, "no"),
    "output is the target": (lambda task: {"output": task.options["target"]}, InputError, "target"),
    "video into a picture": (lambda task: {"output": task.folder / "o.png"}, InputError, r"o\.png"),
    "unknown container": (lambda task: {"output": task.folder / "o.avi"}, InputError, r"o\.avi"),
    "encoder and container": (
        lambda task: {"output": task.folder / "o.webm", "video_encoder": "h264"},
        RunnerError,
        "h264",
    ),
    "unknown preset": (lambda task: {"preset": "warp9"}, ConfigError, "warp9"),
    "start behind the end": (lambda task: {"trim_start": "99"}, InputError, "99"),
    "unknown detector": (lambda task: {"detector": "eagle"}, ModelError, "eagle"),
    "a role's wrong model": (lambda task: {"detector": "narrow"}, ModelError, "narrow"),
    "missing model": (lambda task: {"detector": "yunet_n_640"}, ModelError, "models pull yunet_n_640"),
    "licence not accepted": (lambda task: {"generator": "inswapper_128"}, LicenceError, "accept"),
    "encoder of another space": (lambda task: {"encoder": "other"}, ConfigError, "w600k"),
    "unknown licence": (lambda task: {"model_licenses_accepted": "mitt"}, ConfigError, "mitt"),
    "unsafe cache root": (lambda task: {"cache_root": Path("/var/lib")}, ConfigError, "/var/lib"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_clear_line_before_work_starts(task: SmallTask, case: str) -> None:
    make, kind, words = BAD_INPUT[case]
    changes = make(task)
    before = sorted(path.name for path in task.folder.iterdir())
    with pytest.raises(kind, match=words) as caught:
        task.run(**changes)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert "swapping" not in task.reporter.stages()
    assert task.caches() == []
    assert sorted(path.name for path in task.folder.iterdir() if path.name != "cache") == before


def test_an_encoder_that_the_generator_understands_is_found_by_itself(task: SmallTask) -> None:
    assert task.run(encoder="auto").faces == 12


def test_a_damaged_network_is_named_with_the_way_to_mend_it(task: SmallTask, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for file in task.options["model_root"].iterdir():
        (models / file.name).write_bytes(file.read_bytes())
    (models / "red.onnx").write_bytes((models / "red.onnx").read_bytes()[:500])
    with pytest.raises(ModelError, match="red") as caught:
        task.run(model_root=models)
    assert "\n" not in str(caught.value)


def test_a_network_of_the_wrong_shape_is_named(task: SmallTask, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for file in task.options["model_root"].iterdir():
        (models / file.name).write_bytes(file.read_bytes())
    (models / "red.onnx").write_bytes((models / "colours.onnx").read_bytes())
    with pytest.raises(ModelError, match="red") as caught:
        task.run(model_root=models)
    assert "20" in str(caught.value)


def test_the_picture_of_the_person_is_not_overwritten(task: SmallTask) -> None:
    person = task.folder / "person.png"
    cv2.imwrite(str(person), face_picture())
    before = person.read_bytes()
    target = task.folder / "target.png"
    cv2.imwrite(str(target), face_picture((400, 300), 90))
    with pytest.raises(InputError, match=r"person\.png"):
        task.run(target=target, select="reference", reference=person, output=person, overwrite=True)
    assert person.read_bytes() == before


def test_an_artifact_that_cannot_be_written_is_one_clear_line(task: SmallTask) -> None:
    record: Callable[[Progress], None] = task.reporter.progress

    def block_at(event: Progress) -> None:
        record(event)
        if event.stage == "preparing":
            (task.cache_root / "full" / "crops").write_bytes(b"")

    task.reporter.progress = block_at  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="crops"):
        task.run(cache_artifacts="crops", task_id="full")
    assert task.caches() == task.leftovers() == []


def test_the_user_hears_of_another_encoder_before_the_work_is_done(task: SmallTask) -> None:
    if unusable(ENCODERS["h264_nvenc"]) is None:
        pytest.skip("h264_nvenc works here")
    record: Callable[[Progress], None] = task.reporter.progress
    warned: list[int] = []

    def count_warnings(event: Progress) -> None:
        record(event)
        if event.stage == "swapping":
            warned.append(len(task.reporter.warnings))

    task.reporter.progress = count_warnings  # type: ignore[method-assign]
    result = task.run(video_encoder="h264_nvenc")
    assert warned[0] == 1
    assert len(result.warnings) == len(task.reporter.warnings) == 1


def test_a_picture_that_loses_its_transparency_is_swapped_with_a_warning(task: SmallTask) -> None:
    target = task.folder / "target.png"
    cv2.imwrite(str(target), cv2.cvtColor(face_picture((400, 300), 90), cv2.COLOR_BGR2BGRA))
    result = task.run(target=target, output=task.folder / "out.png")
    assert ["transparent" in warning for warning in result.warnings] == [True]


@pytest.mark.parametrize("file", ["target.mp4", "target.png"])
def test_a_network_whose_points_are_no_numbers_is_one_clear_line(
    task: SmallTask, tmp_path: Path, file: str
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for model in task.options["model_root"].iterdir():
        (models / model.name).write_bytes(model.read_bytes())
    graph = onnx.load(models / "usual.onnx")
    for each in graph.graph.initializer:
        values = onnx.numpy_helper.to_array(each)
        if values.size == 136:
            each.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(np.nan), each.name))
    onnx.save(graph, models / "usual.onnx")
    target = task.folder / file
    if target.suffix == ".png":
        cv2.imwrite(str(target), face_picture())
    with pytest.raises(RunnerError, match="numbers"):
        task.run(
            model_root=models, landmarker="usual", target=target, output=task.folder / f"out{target.suffix}"
        )
    assert task.caches() == []


def test_a_cache_root_that_cannot_be_is_named(task: SmallTask) -> None:
    with pytest.raises(RunnerError, match="CACHE_ROOT"):
        task.run(cache_root=task.folder / ("x" * 300), cache_artifacts="frames")


def test_a_pixel_aspect_that_no_film_has_is_named_before_a_frame_is_stretched(task: SmallTask) -> None:
    def prepare(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(100, 3)

    write_clip(task.folder / "target.mp4", faces(2, (640, 120)), prepare=prepare)
    with pytest.raises(InputError, match="21333"):
        task.run()
    assert task.reporter.stages() == ["checking"]


@pytest.mark.parametrize("end", ["cancelled", "damaged"])
def test_a_task_that_ends_early_lets_go_of_networks_and_frames_at_once(task: SmallTask, end: str) -> None:
    """Not when the garbage collector comes by: a network may fill a GPU."""
    target = damaged(task) if end == "damaged" else task.options["target"]
    record: Callable[[Progress], None] = task.reporter.progress

    def stop_at(event: Progress) -> None:
        record(event)
        if end == "cancelled" and event.frames == 3:
            task.stop.set()

    task.reporter.progress = stop_at  # type: ignore[method-assign]

    def held() -> list[object]:
        return [each for each in gc.get_objects() if isinstance(each, Session | Frame | TrackCopier)]

    gc.collect()
    # Other tests' fixtures may hold networks.
    before = held()
    gc.disable()
    try:
        with pytest.raises(RunnerError):
            task.run(target=target)
        assert [each for each in held() if not any(each is other for other in before)] == []
    finally:
        gc.enable()


@pytest.mark.parametrize("artifact", ["landmarks", "crops"])
def test_a_disk_that_fills_up_with_artifacts_is_named(task: SmallTask, artifact: str) -> None:
    record: Callable[[Progress], None] = task.reporter.progress
    suffix = "npy" if artifact == "landmarks" else "png"

    def fill_at(event: Progress) -> None:
        record(event)
        if event.stage == "preparing":
            folder = task.cache_root / "full" / artifact
            folder.mkdir()
            (folder / f"00000000-0.{suffix}").symlink_to("/dev/full")

    task.reporter.progress = fill_at  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="No space left"):
        task.run(cache_artifacts=artifact, task_id="full")
    assert task.caches() == task.leftovers() == []


def test_a_visible_label_is_in_every_frame(task: SmallTask) -> None:
    task.run(quality=100)
    plain = read_clip(task.output)
    task.run(quality=100, overwrite=True, visible_label="AI")
    for before, after in zip(plain, read_clip(task.output), strict=True):
        changed = cv2.absdiff(before, after).max(axis=2)
        assert changed[-24:, :40].max() > 60 and changed[:60].max() < 12
