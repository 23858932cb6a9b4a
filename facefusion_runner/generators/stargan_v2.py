"""StarGAN v2 (Choi et al., CVPR 2020): the target's face in the style of the source's, in one of its domains.

A domain is a look the network was trained to tell apart, such as female and male. Exports come in two forms:

- two graphs, as in the authors' code: the style encoder (catalog role converter) takes the source's crop,
  and the domain's number where it has an input for it, and gives a style code (n, 64), or the codes of all
  domains (n, domains, 64); the generator takes the target's crop and a style code.
- one graph with the inputs `source`, which the authors call the picture that is changed (our target), and
  `reference`, whose style is taken (our source), and a number of the domain where it has an input for it.

Pictures are RGB, aligned as FFHQ is, -1..1 in and out. Numbers of domains are int64, (n,).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from facefusion_runner.errors import ConfigError
from facefusion_runner.faces.geometry import TemplateName, alignment, cut
from facefusion_runner.faces.types import Crop, Float, Generated, SourceFace
from facefusion_runner.generators import GeneratorOptions
from facefusion_runner.generators.network import CropNetwork, CropParameters, Form, check, fixed
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import Triple, tensor, unfit

FAMILIES: Final = ("stargan_v2",)
NEEDS_SOURCE: Final = True


class Parameters(CropParameters, frozen=True, extra="forbid"):
    """What a catalog entry of this family says about its networks."""

    template: TemplateName = "ffhq_512"
    side: int = Field(256, ge=16)
    mean: Triple = (0.5, 0.5, 0.5)
    std: Triple = (0.5, 0.5, 0.5)
    output_range: tuple[float, float] = (-1.0, 1.0)
    style_encoder: str = ""
    """Id of the style encoder; empty: the graph holds both."""
    domains: tuple[str, ...] = ("female", "male")
    """Names of the domains in the network's order; empty: it has but one."""
    domain: str | None = None
    """The domain where the task names none; None: it must."""
    target_input: str = "source"
    reference_input: str = "reference"
    """Names of a single graph's two pictures."""


Feeds = Mapping[str, NDArray[Any]]


def propose(session: Session) -> dict[str, Any]:
    """The side that the graph has, and a domain; a style encoder must be named by whoever has it."""
    pictures = [node for node in session.inputs if len(node.shape) == 4]
    side = fixed(pictures[0].shape[-1]) if pictures else None
    return {"side": side or 256, "domains": ["female", "male"], "domain": "female"}


def load(entry: ModelEntry, open_model: OpenModel, options: GeneratorOptions) -> StarGenerator:
    """Opens one or two graphs; raises ModelError where they do not fit, ConfigError for an unknown domain."""
    options.require_only(entry.id, "domain")
    chosen = parameters(entry, Parameters)
    domain = _domain(entry, chosen, options.domain)
    session = open_model(entry.id)
    form = Form.of(chosen)
    if chosen.style_encoder:
        picture, style = _kinds(session, "a picture (n, 3, s, s) and a style code (n, any)", 4, 2)
        check(session, picture, (1, 3, chosen.side, chosen.side))
        check(session, session.outputs[0], (1, 3, chosen.side, chosen.side))
        encoder = StyleEncoder(open_model(chosen.style_encoder), chosen, domain, fixed(style.shape[1]))
        network = CropNetwork(session, picture.name, form, _picture, boost=options.pixel_boost)
        return StarGenerator(chosen, network, _Codes(encoder, style.name), most_sources=None)
    inputs = {node.name: node for node in session.inputs}
    if not {chosen.target_input, chosen.reference_input} <= set(inputs):
        raise unfit(
            session,
            f"the inputs {chosen.target_input} and {chosen.reference_input}, or else the parameter "
            "style_encoder",
        )
    for node in (inputs[chosen.target_input], inputs[chosen.reference_input], session.outputs[0]):
        check(session, node, (1, 3, chosen.side, chosen.side))
    number = _number(session, {chosen.target_input, chosen.reference_input}, domain)
    network = CropNetwork(session, chosen.target_input, form, _picture, boost=options.pixel_boost)
    return StarGenerator(chosen, network, _Pictures(chosen.reference_input, number), most_sources=1)


class StarGenerator:
    """A generator with what makes of the sources' crops what it is fed."""

    needs_landmarks: Final = False
    needs_mesh: Final = False
    embedding_spaces: Final = ()

    def __init__(
        self,
        parameters: Parameters,
        network: CropNetwork,
        feeds: _Codes | _Pictures,
        most_sources: int | None,
    ) -> None:
        self._form = Form.of(parameters)
        self._network = network
        self._feeds = feeds
        self.template = parameters.template
        self.most_sources = most_sources

    @property
    def side(self) -> int:
        return self._network.side

    def prepare(self, sources: Sequence[SourceFace]) -> Feeds:
        """The network's inputs beside the target's crop: the mean style code, or the one source's crop."""
        side = self._form.side
        crops = [
            cut(source.picture, alignment(source.face.points, self.template, side), side)
            for source in sources
        ]
        return self._feeds.of(tensor(crops, self._form.mean, self._form.std, "rgb"))

    def generate(self, crops: Sequence[Crop], source: Feeds) -> list[Generated]:
        """One generated face per crop (side, side, 3), in order; raises as `CropNetwork.generate`."""
        return self._network.generate(crops, source)


class StyleEncoder:
    """Gives the style code of a crop in one domain."""

    def __init__(self, session: Session, p: Parameters, domain: int | None, gives: int | None) -> None:
        """`gives`: length of the code that the generator takes; None where its graph leaves that open."""
        pictures = [node for node in session.inputs if len(node.shape) == 4]
        if len(pictures) != 1:
            raise unfit(session, "one input of pictures")
        check(session, pictures[0], (1, 3, p.side, p.side))
        self._numbers = _number(session, {pictures[0].name}, domain)
        code = session.outputs[0]
        self._all_domains = len(code.shape) == 3
        if self._all_domains:
            check(session, code, (1, len(p.domains) or 1, gives))
        else:
            check(session, code, (1, gives))
            if domain is not None and not self._numbers:
                raise unfit(session, "a number of the domain as input, or codes of all domains as output")
        self._session = session
        self._picture = pictures[0].name
        self._domain = domain or 0

    def encode(self, crops: Float) -> Float:
        """(1, length) float32: the mean code of crops (n, 3, side, side)."""
        codes = [self._session.run({self._picture: crop[None], **self._numbers})[0] for crop in crops]
        picked = [code[:, self._domain] if self._all_domains else code for code in codes]
        return np.asarray(np.mean(picked, axis=0), np.float32)


class _Codes:
    def __init__(self, encoder: StyleEncoder, style_input: str) -> None:
        self._encoder = encoder
        self._input = style_input

    def of(self, crops: Float) -> Feeds:
        return {self._input: self._encoder.encode(crops)}


class _Pictures:
    def __init__(self, reference_input: str, number: Feeds) -> None:
        self._input = reference_input
        self._number = number

    def of(self, crops: Float) -> Feeds:
        (crop,) = crops
        return {self._input: crop[None], **self._number}


def _domain(entry: ModelEntry, p: Parameters, asked: str | None) -> int | None:
    """The number of the domain; None where the network has but one."""
    if not p.domains:
        if asked is not None:
            raise ConfigError(f"generator {entry.id} has one domain only; leave --domain out")
        return None
    name = asked or p.domain
    if name not in p.domains:
        found = "knows several domains" if name is None else f"has no domain {name!r}"
        raise ConfigError(f"generator {entry.id} {found}; name one with --domain: {', '.join(p.domains)}")
    return p.domains.index(name)


def _number(session: Session, pictures: set[str], domain: int | None) -> dict[str, NDArray[np.int64]]:
    """What is fed to the graph's input for the domain, where it has one."""
    others = [node for node in session.inputs if node.name not in pictures]
    if any(node.type != "tensor(int64)" or len(node.shape) != 1 for node in others) or len(others) > 1:
        raise unfit(session, "no input beside the pictures but the number of the domain, int64 (n)")
    return {node.name: np.array([domain or 0], np.int64) for node in others}


def _kinds(session: Session, expected: str, *ranks: int) -> list[Any]:
    """The graph's inputs by their number of axes."""
    found = [[node for node in session.inputs if len(node.shape) == rank] for rank in ranks]
    if len(session.inputs) != len(ranks) or any(len(nodes) != 1 for nodes in found):
        raise unfit(session, expected)
    return [nodes[0] for nodes in found]


def _picture(outputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], None]:
    return outputs[0], None
