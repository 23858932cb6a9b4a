"""The figures of the model cards, on pictures and clips that no network was trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click
import cv2
import numpy as np

from facefusion_runner.blending.modes import BLEND_MODES
from facefusion_runner.loading import load_settings
from facefusion_runner.models.catalog import Catalog
from facefusion_runner.models.session import SessionFactory
from facefusion_runner.models.store import ModelStore
from facefusion_runner.pipeline.networks import NetworkLoader, Networks
from facefusion_runner.settings import Settings
from training.data.labels import Labels
from training.data.public_models import PublicModels
from training.detector import evaluate as detector
from training.encoder import evaluate as encoder
from training.evaluation.flicker import flicker
from training.evaluation.sheet import chosen, sheet
from training.evaluation.swapping import Referees, pairs, subjects, swaps, table
from training.landmarker import evaluate as landmarker
from training.segmenter import evaluate as segmenter

BUILT_IN: Final = Path(__file__).parents[2] / "facefusion_runner" / "models" / "builtin"

NETWORKS: Final[Mapping[str, tuple[str, Callable[[Path, Path, Path], dict[str, Any]]]]] = {
    "detector": ("retinaface_light", detector.figures),
    "landmarker": ("face_mesh_468", landmarker.figures),
    "encoder": ("arcface_light", encoder.figures),
    "segmenter": ("face_segmentation", segmenter.figures),
}
PARTS: Final = (*NETWORKS, "generator", "flicker", "sheet")
CLIPS: Final = (
    "obama_address.mp4",
    "pexels_closeup.mp4",
    "pexels_group.mp4",
    "friday_cc0.mp4",
    "intel_asl_again.mkv",
    "intel_asl_brother.mkv",
    "intel_head-pose-face-detection-female.gif",
    "intel_head-pose-face-detection-female-and-male.gif",
    "henry8_5fps.mp4",
    "intel_face-demographics-walking-and-pause.gif",
    "chaplin_mp3audio.mp4",
)


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--data", type=click.Path(exists=True, path_type=Path), default="../shared", show_default=True)
@click.option("--work", type=click.Path(exists=True, path_type=Path), default="build", show_default=True)
@click.option("--generator", "generators", multiple=True, default=("mesh",), show_default=True)
@click.option(
    "--blend-mode",
    "modes",
    multiple=True,
    default=("alpha",),
    show_default=True,
    type=click.Choice(list(BLEND_MODES)),
    help="How the generator's faces are put back; more than one for a table that compares.",
)
@click.option("--pairs", "count", default=210, show_default=True, help="Swaps that judge a generator.")
def main(
    parts: tuple[str, ...],
    data: Path,
    work: Path,
    generators: tuple[str, ...],
    modes: tuple[str, ...],
    count: int,
) -> None:
    """Prints the figures of the built-in models; with PARTS only of those.

    Judges are the public networks below DATA/models, the portraits that `training.data` keeps apart, the
    pictures of DATA/faces/test_images and the clips of DATA/media. The part `sheet` writes a contact sheet of
    eight sources on eight targets for every generator to WORK/sheet_GENERATOR.png.
    """
    cv2.setNumThreads(2)
    for part in parts or PARTS:
        if part in NETWORKS:
            model, figures = NETWORKS[part]
            click.echo(f"{part} {model}")
            click.echo(json.dumps(figures(data, work, BUILT_IN / f"{model}.onnx"), indent=2, default=_plain))
        for generator in generators if part not in NETWORKS else ():
            networks = _networks(generator)
            click.echo(f"{part} {generator}")
            if part == "generator":
                _judge(networks, data, work, modes, count)
            elif part == "flicker":
                _flicker(networks, data, work)
            else:
                click.echo(_sheet(networks, data, work, work / f"sheet_{generator}.png"))


def _networks(generator: str) -> Networks:
    """The networks that a swap opens where nothing was downloaded."""
    settings = load_settings(
        {"generator": generator, "offline": "true", "device": "cpu"}, None, {}, Settings
    ).settings
    catalog = Catalog.load(settings.model_root)
    store = ModelStore(settings.model_root, catalog, offline=True)
    return NetworkLoader(settings, catalog, store, SessionFactory("cpu", threads=2)).open()


def _judge(networks: Networks, data: Path, work: Path, modes: tuple[str, ...], count: int) -> None:
    """One line for all pairs and one for those with a turned face, per blend mode."""
    referees = Referees(PublicModels(data / "models", threads=2))
    drawn = pairs(data, work, count)
    people = subjects(data, work, [file for pair in drawn for file in pair])
    for mode in modes:
        found = [referees.judge(one) for one in swaps(networks.generator, people, drawn, BLEND_MODES[mode])]
        click.echo(f"  {mode:9} all    {table(found)}")
        click.echo(f"  {mode:9} turned {table([one for one in found if one.turned])}")


def _flicker(networks: Networks, data: Path, work: Path) -> None:
    """One line per clip, with the first held-out portrait as the source."""
    first = pairs(data, work, 1)[0][1]
    source = networks.generator.prepare([subjects(data, work, [first])[first].face])
    ratios = []
    for clip in CLIPS:
        found = flicker(networks, source, data / "media" / clip)
        if found is None:
            click.echo(f"  {clip:52} no face")
            continue
        ratios.append(found.ratio)
        click.echo(
            f"  {clip:52} faces {found.faces:4.1f}  swapped {found.swapped:5.2f}  "
            f"original {found.original:5.2f}  ratio {found.ratio:.2f}"
        )
    click.echo(f"  mean ratio {np.mean(ratios):.2f}, largest {np.max(ratios):.2f}")


def _sheet(networks: Networks, data: Path, work: Path, path: Path) -> Path:
    """Writes the contact sheet; gives its path."""
    files = sorted({file for pair in pairs(data, work) for file in pair})
    labels = Labels.load(work)
    sources, targets = chosen(labels, files, seed=4), chosen(labels, files, seed=5)
    people = subjects(data, work, [*sources, *targets])
    picture = sheet(networks.generator, [people[f] for f in sources], [people[f] for f in targets])
    cv2.imwrite(str(path), picture)
    return path


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


if __name__ == "__main__":
    main()
