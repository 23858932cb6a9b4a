"""Every family carries a swap from the target's frames to the output's."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from facefusion_runner import cli
from facefusion_runner.errors import ConfigError, InputError, ModelError, RunnerError
from facefusion_runner.media.probe import probe
from facefusion_runner.models.families import families
from facefusion_runner.pipeline.run import _Task
from tests.models.test_catalog import install
from tests.pipeline.conftest import SmallTask, faces, read_clip
from tests.support.family_models import MODELS, entry
from tests.support.tiny_models import face_picture

SOURCELESS = ("dfm", "faceswap_gan_v2")
GENERATORS = {
    "my_inswapper": {},
    "my_hyperswap": {},
    "my_ghost": {},
    "my_ghost_of_e5": {"encoder": "e5"},
    "my_simswap": {},
    "my_hififace": {},
    "my_blendswap": {},
    "my_uniface": {},
    "my_stargan": {"domain": "female"},
    "my_stargan_of_all": {},
    "my_stargan_single": {"domain": "male"},
    "my_dfm": {},
    "my_dfm_amp": {"morph": "0.5"},
    "my_faceswap_gan": {"direction": "b_to_a"},
    "my_faceswap_gan_pair": {},
}
EXTRAS = {
    "occlusion": {"mask": "occlusion", "occlusion_model": "my_xseg"},
    "region": {"mask": "hull,region", "landmarker": "usual", "region_model": "my_bisenet"},
    "gfpgan": {"enhancer": "my_gfpgan"},
    "codeformer": {"enhancer": "codeformer"},
    "real_esrgan": {"enhancer": "real_esrgan", "enhancer_blend": "1"},
}

NETWORKS = {name for name, model in MODELS.items() if model.role in ("mask", "enhancer")}


def options_of(generator: str) -> dict[str, Any]:
    """The settings a swap with this generator needs."""
    options: dict[str, Any] = {"generator": generator, "encoder": "auto", **GENERATORS.get(generator, {})}
    if MODELS[generator].family in SOURCELESS:
        options["source"] = ()
    return options


def test_there_is_a_network_of_every_family() -> None:
    """But of those whose weights are built in, or whose own tests run whole swaps."""
    made = {(model.role, model.family) for model in MODELS.values()}
    for role in ("generator", "mask", "enhancer"):
        assert {family for family in families(role) if family != "mesh"} == {  # type: ignore[arg-type]
            family for of_role, family in made if of_role == role
        }


@pytest.mark.parametrize("boost", [1, 2])
@pytest.mark.parametrize("generator", GENERATORS)
def test_every_generator_replaces_the_face(
    task: SmallTask, family_models: Path, generator: str, boost: int
) -> None:
    options = options_of(generator)
    result = task.run(model_root=family_models, trim_end="0.1", pixel_boost=boost, **options)
    assert (result.frames, result.faces) == (3, 3)
    assert sum(result.network_calls.values()) >= 2
    for before, after in zip(faces(3), read_clip(task.output), strict=True):
        change = cv2.absdiff(before, after).max(axis=2)
        face = np.s_[45:75, 35:70]
        assert change[face].mean() > 20, "nothing was put into the face"
        assert np.median(change[:, 120:]) < 6, "what is no face has changed"


@pytest.mark.parametrize("extra", EXTRAS)
def test_masks_and_enhancers_take_part(task: SmallTask, family_models: Path, extra: str) -> None:
    task.run(model_root=family_models, trim_end="0.1", overwrite=True, **options_of("my_inswapper"))
    without = read_clip(task.output)
    result = task.run(
        **{"model_root": family_models, "trim_end": "0.1", "overwrite": True},
        **options_of("my_inswapper"),
        **EXTRAS[extra],
    )
    assert result.faces == 3 and result.network_calls.keys() & NETWORKS
    assert ("enhancement" in result.stage_seconds) == ("enhancer" in EXTRAS[extra])
    for before, plain, after in zip(faces(3), without, read_clip(task.output), strict=True):
        assert cv2.absdiff(plain, after).max() > 8, "it changed nothing"
        assert np.median(cv2.absdiff(before, after)[:, 120:]) < 6, "what is no face has changed"


@pytest.mark.parametrize("generator", [*GENERATORS, *EXTRAS])
def test_every_family_swaps_a_real_clip(
    task: SmallTask, family_models: Path, shared: Path, generator: str
) -> None:
    """With the built-in detector, which finds the real face."""
    target = shared / "media" / "pexels_closeup.mp4"
    options = options_of(generator) if generator in GENERATORS else options_of("my_inswapper")
    options |= EXTRAS.get(generator, {})
    if options.get("source") != ():
        options["source"] = (next(iter(sorted((shared / "faces" / "house512").glob("*.jpg")))),)
    rate = probe(target).rate
    assert rate is not None
    result = task.run(
        **{"model_root": family_models, "target": target, "trim_end": str(float(2 / rate) - 0.001)},
        **{"detector": "retinaface_light", **options},
    )
    assert result.frames == 2 and result.faces == 2
    assert generator in GENERATORS or result.network_calls.keys() & NETWORKS, "it has no part"
    after = read_clip(task.output)
    with av.open(str(target)) as container:
        before = [frame.to_ndarray(format="bgr24") for frame in islice(container.decode(video=0), 2)]
    for old, new in zip(before, after, strict=True):
        change = cv2.absdiff(old, new).max(axis=2)
        # The weights of the two mask networks are random: they may keep all of the target.
        assert np.mean(change > 20) > 0.002 or generator in ("occlusion", "region"), "nothing was put in"
        assert np.mean(change > 20) < 0.6 and np.median(change) < 12, "what is no face has changed"


def first_decoded(task: SmallTask, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills when a source is read or a frame of the target is."""
    seen: list[str] = []
    monkeypatch.setattr("facefusion_runner.pipeline.people.read_picture", lambda path: seen.append(path))
    monkeypatch.setattr(_Task, "_reader", lambda self: seen.append("target"))
    return seen


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        (
            {"generator": "my_inswapper", "encoder": "my_e5"},
            ConfigError,
            r"understands embeddings of w600k, but encoder my_e5 makes those of facenet",
        ),
        (
            {"generator": "my_ghost", "encoder": "my_e5"},
            ConfigError,
            r"of its_own and, through converters, of w600k, but .* a converter from facenet in",
        ),
        ({"generator": "my_dfm"}, InputError, "generator my_dfm needs no source, .*leave --source out"),
        ({"generator": "my_faceswap_gan"}, InputError, "needs no source"),
        ({"generator": "my_inswapper", "source": ()}, InputError, "my_inswapper needs a source: .*--source"),
        ({"generator": "my_uniface", "source": ()}, InputError, "my_uniface needs a source"),
        ({"generator": "my_blendswap", "source": "two"}, InputError, "takes one source picture, not 2"),
        ({"generator": "my_stargan"}, ConfigError, "several domains; name one with --domain: female, male"),
        ({"generator": "my_stargan", "domain": "cat"}, ConfigError, "has no domain 'cat'; .*female, male"),
        ({"generator": "my_inswapper", "domain": "male"}, ConfigError, "knows no domain; leave --domain out"),
        ({"generator": "my_dfm", "morph": "1", "source": ()}, ConfigError, "has no morph input"),
        ({"generator": "my_inswapper", "morph": "1"}, ConfigError, "knows no morph"),
        (
            {"generator": "my_faceswap_gan_a", "direction": "b_to_a", "source": ()},
            ConfigError,
            r"from A to B only: .* no network \(reverse\) and no output \(outputs\)",
        ),
        ({"mask": "region"}, ModelError, "bisenet_resnet_34 is not here .*models pull bisenet_resnet_34"),
        ({"mask": "occlusion", "occlusion_model": "nothing"}, ModelError, "no mask is called 'nothing'"),
        (
            {"mask": "region", "region_model": "my_bisenet", "mask_regions": "skin,tail"},
            ConfigError,
            "region 'tail' is unknown to mask my_bisenet; it tells apart background, skin",
        ),
        ({"mask_regions": "skin"}, ConfigError, "no meaning without --mask region"),
        ({"mask": "region", "region_model": "my_xseg"}, ConfigError, "name it with --occlusion-model"),
        ({"mask": "occlusion", "occlusion_model": "my_bisenet"}, ConfigError, "with --region-model"),
        ({"enhancer": "my_inswapper"}, ModelError, "has the role generator, not enhancer"),
        ({"encoder": "e5x", "generator": "my_inswapper"}, ModelError, "no encoder is called 'e5x'"),
    ],
)
def test_a_wrong_combination_is_one_line_before_any_frame_is_decoded(
    task: SmallTask,
    family_models: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    error: type[RunnerError],
    says: str,
) -> None:
    seen = first_decoded(task, monkeypatch)
    if settings.get("source") == "two":
        other = task.folder / "other.png"
        cv2.imwrite(str(other), face_picture())
        settings = {**settings, "source": (*task.options["source"], other)}
    own = {"generator": "my_inswapper", "encoder": "auto", "model_root": family_models}
    if "region" in settings.get("mask", "") and "region_model" not in settings:
        own["region_model"] = "bisenet_resnet_34"
    with pytest.raises(error, match=says) as caught:
        task.run(**{**own, **settings})
    assert "\n" not in str(caught.value)
    assert seen == [] and not task.output.exists() and task.caches() == []


def test_a_missing_converter_names_the_catalog_entry(task: SmallTask, family_models: Path) -> None:
    root = task.folder / "models"
    root.mkdir()
    for file in family_models.iterdir():
        if file.name != "bridge.onnx":
            (root / file.name).symlink_to(file)
    with pytest.raises(ModelError, match=r"model bridge is not here .*models import bridge FILE"):
        task.run(model_root=root, **options_of("my_ghost"))


def test_a_family_without_a_model_says_how_to_add_one(task: SmallTask, tiny_models: Path) -> None:
    with pytest.raises(ModelError, match="no catalog holds a model of the encoder family e5; add one with"):
        task.run(encoder="e5", generator="narrow")


def test_a_source_is_prepared_once_however_many_frames_there_are(
    task: SmallTask, family_models: Path
) -> None:
    result = task.run(model_root=family_models, **options_of("my_stargan"), trim_end="0.3")
    assert result.network_calls["my_style"] == 1
    assert result.network_calls["my_stargan"] == result.frames == 8


def test_domain_and_direction_change_the_picture(task: SmallTask, family_models: Path) -> None:
    pictures = {}
    for name, options in {
        "female": {"generator": "my_stargan", "domain": "female"},
        "male": {"generator": "my_stargan", "domain": "male"},
        "to b": {"generator": "my_faceswap_gan", "source": ()},
        "to a": {"generator": "my_faceswap_gan", "source": (), "direction": "b_to_a"},
        "b of a pair": {"generator": "my_faceswap_gan_pair", "source": ()},
        "a of a pair": {"generator": "my_faceswap_gan_pair", "source": (), "direction": "b_to_a"},
        "half way": {"generator": "my_dfm_amp", "source": (), "morph": "0.5"},
        "all the way": {"generator": "my_dfm_amp", "source": ()},
    }.items():
        task.run(model_root=family_models, trim_end="0.03", overwrite=True, **options)
        pictures[name] = read_clip(task.output)[0]
    names = list(pictures)
    for one, other in zip(names[::2], names[1::2], strict=True):
        assert cv2.absdiff(pictures[one], pictures[other]).max() > 10, f"{one} and {other} look alike"


def test_what_is_in_front_of_a_face_stays(task: SmallTask, family_models: Path) -> None:
    target, output = task.folder / "target.png", task.folder / "out.png"
    picture = face_picture((400, 300), 120)
    picture[140:158] = (90, 200, 60)
    cv2.imwrite(str(target), picture)
    files = {"model_root": family_models, "target": target, "output": output, "overwrite": True}
    task.run(**files, **options_of("my_inswapper"), mask="box")
    over = cv2.absdiff(cv2.imread(str(output)), picture).max(axis=2)
    assert over[144:154, 190:210].min() > 10, "without a mask the bar is drawn over"
    result = task.run(**files, **options_of("my_inswapper"), mask="box,occlusion", occlusion_model="my_bare")
    change = cv2.absdiff(cv2.imread(str(output)), picture).max(axis=2)
    assert change[141:157].max() == 0, "the bar stays as it is"
    assert np.median(change[165:175, 185:215]) > 10, "and the face around it is replaced"
    assert result.network_calls["my_bare"] == 1


def test_a_plug_in_that_needs_no_source_need_not_say_so_beforehand(
    task: SmallTask, tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
from facefusion_runner.faces.types import Generated
class Grey:
    template, side, needs_landmarks, needs_mesh = "arcface_128", 128, False, False
    embedding_spaces, most_sources = (), 0
    def prepare(self, sources): return None
    def generate(self, crops, source): return [Generated(crop.pixels // 2 + 60) for crop in crops]
def load(entry, open_model, options): return Grey()
"""
    points = "[facefusion_runner.generators]\ngrey = grey_family:load\n"
    points += "[facefusion_runner.catalogs]\ngrey = grey_family:CATALOG\n"
    catalog = 'CATALOG = """\n' + entry("grey", "generator", "grey", {}).replace("grey.onnx", "") + '"""'
    site = tmp_path / "site"
    site.mkdir()
    install(site, "grey_family", points, grey_family=code + catalog)
    monkeypatch.syspath_prepend(site)
    result = task.run(generator="grey", source=(), trim_end="0.1")
    assert result.faces == 3
    with pytest.raises(InputError, match="generator grey needs no source"):
        task.run(generator="grey", overwrite=True)


def test_a_source_may_be_left_out_on_the_command_line(
    task: SmallTask, family_models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {
        "MODEL_ROOT": str(family_models),
        "CACHE_ROOT": str(task.cache_root),
        "CACHE_GRACE_SECONDS": "0",
        "DETECTOR": "red",
    }
    files = ["--target", str(task.options["target"]), "--output", str(task.output), "--trim-end", "0.1"]
    assert cli.run(["swap", *files, "--generator", "my_dfm"], environ) == 0
    assert len(read_clip(task.output)) == 3
    assert cli.run(["swap", *files, "--overwrite", "--generator", "my_inswapper"], environ) == 2
    assert "error: generator my_inswapper needs a source: name a picture" in capsys.readouterr().err
