"""Real networks on real footage: every clip and photo of ../shared."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from insightface.data import get_image
from skimage.data import astronaut

from facefusion_runner.errors import MediaError
from facefusion_runner.pipeline.run import Result, swap
from facefusion_runner.settings import Settings
from facefusion_runner.signals import Stop
from tests.conftest import SHARED
from tests.pipeline.conftest import Recorder
from tests.support.shared_models import SharedModels

CLIPS = sorted(path.name for path in (SHARED / "media").glob("*")) or ["none"]
WITH_FACES = (
    "friday", "intel_asl", "intel_head", "intel_face", "pexels", "obama", "henry8",
)  # fmt: skip
SECONDS = Fraction(2, 5)

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, shared_models: SharedModels) -> Run:
    """Swaps the astronaut's face into a target, with quick networks unless others are named."""
    source = tmp_path / "source.png"
    cv2.imwrite(str(source), astronaut()[..., ::-1])

    def run(target: Path, **options: Any) -> Result:
        settings = {
            "source": (source,),
            "target": target,
            "output": tmp_path / "out.mp4",
            "cache_root": tmp_path / "cache",
            "cache_grace_seconds": 0.0,
            "model_root": shared_models.root,
            "model_licenses_accepted": "insightface-noncommercial,gpl-3.0,unstated",
            "detector": "yunet",
            "landmarker": "facemesh_468",
            "encoder": "arcface_mbf_foamliu",
            "device": "cpu",
            "preset": "ultrafast",
            **options,
        }
        return swap(Settings(**settings), Recorder(), Stop())

    return run


@pytest.fixture
def with_narrow(tmp_path: Path, shared_models: SharedModels, tiny_models: Path) -> Path:
    """The real networks, and the small generator that needs no mesh with its encoder."""
    root = tmp_path / "models"
    root.mkdir()
    for file in (
        *shared_models.root.glob("*.onnx"),
        tiny_models / "narrow.onnx",
        tiny_models / "colours.onnx",
    ):
        (root / file.name).symlink_to(file)
    catalogs = [(each / "catalog.toml").read_text() for each in (shared_models.root, tiny_models)]
    small = [
        table for table in catalogs[1].split("[[models]]") if '"narrow"' in table or '"colours"' in table
    ]
    (root / "catalog.toml").write_text("[[models]]".join([catalogs[0], *small]))
    return root


def shown(path: Path, seconds: Fraction | None = None) -> list[Fraction]:
    """The times of a video's frames before `seconds`, counted from the first frame."""
    with av.open(str(path)) as container:
        times = []
        for frame in container.decode(container.streams.best("video")):
            times.append(frame.pts * frame.time_base)
            if seconds is not None and times[-1] - times[0] >= seconds:
                times.pop()
                break
    return [each - times[0] for each in times]


@pytest.mark.parametrize("name", CLIPS)
def test_every_clip_is_swapped_frame_for_frame(shared: Path, run: Run, name: str) -> None:
    target = shared / "media" / name
    result = run(target, trim_end=SECONDS)
    assert result.frames == len(shown(result.output))
    assert (result.faces > 0) == name.startswith(WITH_FACES)
    if name != "unordered_pts.mov":
        step = Fraction(1, 500)
        for ours, theirs in zip(shown(result.output), shown(target, SECONDS), strict=True):
            assert abs(ours - theirs) <= step


def test_the_damaged_clip_is_refused(shared: Path, run: Run) -> None:
    with pytest.raises(MediaError):
        run(shared / "media" / "corrupted.mp4")


@pytest.mark.parametrize(
    "detector",
    ["scrfd_2.5g", "scrfd_500m", "scrfd_2.5g_static", "retinaface_mnet025", "yolov5n_face", "yunet_640"],
)
def test_every_detector_family_drives_a_swap(shared: Path, run: Run, detector: str) -> None:
    result = run(shared / "media" / "obama_address.mp4", detector=detector, trim_end="0.2")
    assert (result.frames, result.faces) == (6, 6)


@pytest.mark.parametrize(
    "landmarker",
    ["peppa_68", "pfld_68", "pfld_ghostone_98", "pfld_lite_106", "2d106det_compat", "facemesh_468"],
)
def test_every_landmark_scheme_drives_a_swap(
    shared: Path, run: Run, with_narrow: Path, landmarker: str
) -> None:
    result = run(
        shared / "media" / "obama_address.mp4",
        model_root=with_narrow,
        generator="narrow",
        encoder="auto",
        mask="hull",
        landmarker=landmarker,
        trim_end="0.2",
    )
    assert (result.frames, result.faces) == (6, 6)


def test_only_the_person_of_the_reference_is_replaced(shared: Path, run: Run, tmp_path: Path) -> None:
    target = shared / "media" / "intel_head-pose-face-detection-female-and-male.gif"
    with av.open(str(target)) as container:
        first = next(container.decode(video=0)).to_ndarray(format="bgr24")
    reference = tmp_path / "reference.png"
    cv2.imwrite(str(reference), first[:, first.shape[1] // 2 :])
    result = run(target, select="reference", reference=reference, trim_end="1")
    assert result.frames - 1 <= result.faces <= result.frames
    with av.open(str(target)) as before, av.open(str(result.output)) as after:
        pairs = zip(before.decode(video=0), after.decode(video=0), strict=False)
        for old, new in pairs:
            change = cv2.absdiff(old.to_ndarray(format="bgr24"), new.to_ndarray(format="bgr24"))
            left, right = np.hsplit(change.max(axis=2).astype(np.float32), 2)
            assert left.max() < 35 < right.max()


@pytest.mark.parametrize("detector", ["yunet", "scrfd_2.5g", "retinaface_mnet025"])
def test_many_faces_of_a_photo_are_replaced(shared: Path, run: Run, tmp_path: Path, detector: str) -> None:
    solvay = shared / "faces" / "test_images" / "solvay1927_29faces.jpg"
    result = run(solvay, output=tmp_path / "out.png", detector=detector, detect_size="1280")
    assert 29 <= result.faces <= 30


def test_the_six_faces_of_a_television_photo_are_replaced(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "t1.png"
    cv2.imwrite(str(target), get_image("t1"))
    assert run(target, output=tmp_path / "out.png").faces == 6


def test_several_pictures_of_one_person_make_one_source(shared: Path, run: Run) -> None:
    house = shared / "faces" / "house512"
    sources = (house / "adam-schiff.jpg", house / "adam-kinzinger.jpg")
    result = run(shared / "media" / "obama_address.mp4", source=sources, trim_end="0.1")
    assert result.faces == 3


def test_detection_every_fifth_frame_finds_as_many_faces(shared: Path, run: Run) -> None:
    target = shared / "media" / "obama_address.mp4"
    result = run(target, detect_every="5", trim_end="0.5")
    assert result.faces == result.frames == 15
