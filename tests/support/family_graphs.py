"""Networks made on the spot for the families that are not identity-conditioned generators.

As in `graphs`: the real ones' inputs, outputs, names, layouts, ranges and layer kinds in miniature, with
random weights. The `…_echo` graphs give back what they are given, so that the arithmetic around a network
can be checked.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.graphs import GraphBuilder, Tensor, styled_picture

DOMAINS = 2
STYLE = 64


# --- image-conditioned generators --------------------------------------------------------------------------


def image_graph(
    path: Path,
    *,
    side: int = 256,
    source_side: int,
    output_range: tuple[float, float],
    width: int = 8,
    batch: int | str = 1,
) -> Path:
    """AEI-Net's form: the source's picture is embedded inside the graph and styles the target's features."""
    g = GraphBuilder()
    identity = _embedded(g, "source", width, 32)
    picture, _ = styled_picture(g, "target", identity, 32, width, 2, output_range)
    _named(g, picture, "output")
    inputs = [
        Tensor("target", (batch, 3, side, side)),
        Tensor("source", (batch, 3, source_side, source_side)),
    ]
    return g.save(path, inputs, [Tensor("output", (batch, 3, side, side))])


def blendswap_graph(path: Path, *, width: int = 8, batch: int | str = 1) -> Path:
    """blendswap: source 112, all pictures 0..1."""
    return image_graph(path, source_side=112, output_range=(0.0, 1.0), width=width, batch=batch)


def uniface_graph(path: Path, *, width: int = 8, batch: int | str = 1) -> Path:
    """uniface: source 256, out -1..1."""
    return image_graph(path, source_side=256, output_range=(-1.0, 1.0), width=width, batch=batch)


def image_echo(
    path: Path,
    *,
    side: int,
    source_side: int,
    mean: float = 0.0,
    std: float = 1.0,
    output_range: tuple[float, float] = (0.0, 1.0),
    names: tuple[str, str] = ("target", "source"),
    domain: bool = False,
) -> Path:
    """The target's picture; the source's takes part with a weight of 0."""
    g = GraphBuilder()
    idle = g.op("Mul", g.op("ReduceMean", names[1], axes=[1, 2, 3], keepdims=1), g.constant(0.0))
    inputs = [Tensor(names[0], (1, 3, side, side)), Tensor(names[1], (1, 3, source_side, source_side))]
    if domain:
        number = g.op("Mul", g.op("Cast", "domain", to=1), g.constant(0.0))
        idle = g.op("Add", idle, number)
    _named(g, g.op("Add", _ranged(g, names[0], mean, std, output_range), idle), "output")
    if domain:
        inputs.append(Tensor("domain", (1,), "int64"))
    return g.save(path, inputs, [Tensor("output", (1, 3, side, side))])


# --- StarGAN v2 --------------------------------------------------------------------------------------------


def stargan_generator(path: Path, *, side: int = 256, width: int = 4, batch: int | str = 1) -> Path:
    """`x` and the style code `s` to `output`: residual blocks, instance norm down, AdaIN up, no Tanh."""
    g = GraphBuilder()
    _named(g, _stargan_body(g, "x", "s", width), "output")
    inputs = [Tensor("x", (batch, 3, side, side)), Tensor("s", (batch, STYLE))]
    return g.save(path, inputs, [Tensor("output", (batch, 3, side, side))])


def stargan_style_encoder(
    path: Path, *, side: int = 256, width: int = 4, all_domains: bool = False, batch: int | str = 1
) -> Path:
    """`x` and the domains' numbers `y` (int64) to `style` (n, 64); all_domains: without `y`, (n, 2, 64)."""
    g = GraphBuilder(seed=3)
    codes = _style_codes(g, "x", width)
    inputs = [Tensor("x", (batch, 3, side, side))]
    if all_domains:
        _named(g, codes, "style")
        return g.save(path, inputs, [Tensor("style", (batch, DOMAINS, STYLE))])
    _named(g, _picked(g, codes, "y"), "style")
    inputs.append(Tensor("y", (batch,), "int64"))
    return g.save(path, inputs, [Tensor("style", (batch, STYLE))])


def stargan_single(path: Path, *, side: int = 256, width: int = 4, batch: int | str = 1) -> Path:
    """`source`, `reference` and `domain` (int64) to `output`, both networks in one graph."""
    g = GraphBuilder()
    style = _picked(g, _style_codes(g, "reference", width), "domain")
    _named(g, _stargan_body(g, "source", style, width), "output")
    inputs = [Tensor(name, (batch, 3, side, side)) for name in ("source", "reference")]
    inputs.append(Tensor("domain", (batch,), "int64"))
    return g.save(path, inputs, [Tensor("output", (batch, 3, side, side))])


def stargan_echo(path: Path, side: int = 256) -> Path:
    """The generator's form; gives `x` back."""
    g = GraphBuilder()
    idle = g.op("Mul", g.op("ReduceSum", "s", g.constant([1], "int64"), keepdims=1), g.constant(0.0))
    _named(g, g.op("Add", "x", g.op("Unsqueeze", idle, g.constant([2, 3], "int64"))), "output")
    inputs = [Tensor("x", (1, 3, side, side)), Tensor("s", (1, STYLE))]
    return g.save(path, inputs, [Tensor("output", (1, 3, side, side))])


def _stargan_body(g: GraphBuilder, x: str, style: str, width: int) -> str:
    x = g.convolution(x, (3, width), 3)
    for before, after in ((width, 2 * width), (2 * width, 4 * width)):
        x = _residual(g, x, before, after)
    x = g.style_block(x, style, STYLE, 4 * width)
    for before, after in ((4 * width, 2 * width), (2 * width, width)):
        x = _nearest(g, g.op("LeakyRelu", g.style(x, style, STYLE, before), alpha=0.2), 2)
        x = g.convolution(x, (before, after), 3)
    x = g.op("LeakyRelu", g.instance_norm(x), alpha=0.2)
    return g.op("Mul", g.convolution(x, (width, 3), 1), g.constant(0.4))


def _style_codes(g: GraphBuilder, x: str, width: int) -> str:
    """(n, domains, 64): a head for each domain on shared features."""
    x = g.convolution(x, (3, width), 3)
    for before, after in ((width, 2 * width), (2 * width, 4 * width), (4 * width, 4 * width)):
        x = _residual(g, x, before, after)
    x = g.op("Flatten", g.op("GlobalAveragePool", g.op("LeakyRelu", x, alpha=0.2)))
    heads = [g.dense(x, 4 * width, STYLE) for _ in range(DOMAINS)]
    return g.op("Concat", *(g.op("Unsqueeze", head, g.constant([1], "int64")) for head in heads), axis=1)


def _picked(g: GraphBuilder, codes: str, domain: str) -> str:
    return g.op("GatherND", codes, g.op("Unsqueeze", domain, g.constant([1], "int64")), batch_dims=1)


def _residual(g: GraphBuilder, x: str, before: int, after: int) -> str:
    """Instance norm, convolution, average pooling; a 1x1 convolution beside them."""
    y = g.convolution(g.op("LeakyRelu", g.instance_norm(x), alpha=0.2), (before, after), 3)
    both = g.op("Add", y, g.convolution(x, (before, after), 1))
    return g.op("Mul", _pooled(g, both), g.constant(0.7))


# --- autoencoders of one person or one pair -----------------------------------------------------------------

DFM_OUTPUTS = ("out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0")


def dfm_graph(path: Path, *, side: int = 128, width: int = 4, morph: bool = False) -> Path:
    """DeepFaceLab's df: strided 5x5 convolutions, dense layers, depth-to-space up, a decoder for each person.

    morph: AMP's form, where `morph_value:0` mixes the codes of two inner layers.
    """
    g = GraphBuilder()
    x = _nchw(g, "in_face:0")
    for before, after in ((3, width), (width, 2 * width), (2 * width, 4 * width), (4 * width, 4 * width)):
        x = g.op("LeakyRelu", g.convolution(x, (before, after), 5, 2), alpha=0.1)
    low = side // 16
    flat = g.op("Flatten", x)
    size = 4 * width * low * low
    codes = [_inner(g, flat, size, 4 * width, low) for _ in range(2 if morph else 1)]
    code = codes[0]
    if morph:
        stay = g.op("Sub", g.constant(1.0), "morph_value:0")
        code = g.op("Add", g.op("Mul", codes[0], "morph_value:0"), g.op("Mul", codes[1], stay))
    _, target_mask = _dfm_decoder(g, code, 4 * width)
    picture, made_mask = _dfm_decoder(g, code, 4 * width)
    for name, made in zip(DFM_OUTPUTS, (target_mask, picture, made_mask), strict=True):
        _nhwc(g, made, name)
    inputs = [Tensor("in_face:0", ("unk__1", side, side, 3))]
    inputs += [Tensor("morph_value:0", (1,))] if morph else []
    outputs = [
        Tensor(name, ("unk__2", side, side, channels))
        for name, channels in zip(DFM_OUTPUTS, (1, 3, 1), strict=True)
    ]
    return g.save(path, inputs, outputs)


def dfm_echo(path: Path, side: int = 128) -> Path:
    """Gives the picture back with two full masks."""
    g = GraphBuilder()
    ones = g.op(
        "Add", g.op("Mul", g.op("ReduceMean", "in_face:0", axes=[3]), g.constant(0.0)), g.constant(1.0)
    )
    for name, made in zip(DFM_OUTPUTS, (ones, "in_face:0", ones), strict=True):
        _named(g, made, name)
    outputs = [Tensor(name, ("n", side, side, c)) for name, c in zip(DFM_OUTPUTS, (1, 3, 1), strict=True)]
    return g.save(path, [Tensor("in_face:0", ("n", side, side, 3))], outputs)


def faceswap_gan_graph(path: Path, *, side: int = 64, width: int = 4, seed: int = 0) -> Path:
    """netGA or netGB of v2.2: pixel shuffles up, opacity and BGR in one tensor, a smaller one beside it."""
    g = GraphBuilder(seed=seed)
    _nhwc(g, _gan_decoder(g, _gan_encoder(g, "input_1", side, width), width), "full")
    small = [g.constant([1.0, 1.0, 0.5, 0.5], "float32")]
    g.op("Resize", _nchw(g, "full"), "", *small, mode="linear")
    _nhwc(g, g.nodes[-1].output[0], "side")
    outputs = [Tensor("full", ("n", side, side, 4)), Tensor("side", ("n", side // 2, side // 2, 4))]
    return g.save(path, [Tensor("input_1", ("n", side, side, 3))], outputs)


def faceswap_gan_pair(path: Path, *, side: int = 64, width: int = 4) -> Path:
    """Both decoders on one encoder; opacity and picture are outputs of their own."""
    g = GraphBuilder(seed=4)
    code = _gan_encoder(g, "input", side, width)
    outputs = []
    for person in ("b", "a"):
        both = _gan_decoder(g, code, width)
        ends = [[g.constant([value], "int64") for value in part] for part in ((0, 1, 1), (1, 4, 1))]
        for name, end, channels in zip((f"alpha_{person}", f"bgr_{person}"), ends, (1, 3), strict=True):
            _nhwc(g, g.op("Slice", both, *end), name)
            outputs.append(Tensor(name, ("n", side, side, channels)))
    return g.save(path, [Tensor("input", ("n", side, side, 3))], outputs)


def faceswap_gan_echo(path: Path, side: int = 128) -> Path:
    """Gives the picture back, wholly opaque."""
    g = GraphBuilder()
    grey = g.op("ReduceMean", "input", axes=[3], keepdims=1)
    opaque = g.op("Add", g.op("Mul", grey, g.constant(0.0)), g.constant(1.0))
    _named(g, g.op("Concat", opaque, "input", axis=3), "output")
    return g.save(path, [Tensor("input", ("n", side, side, 3))], [Tensor("output", ("n", side, side, 4))])


def _inner(g: GraphBuilder, flat: str, size: int, channels: int, low: int) -> str:
    x = g.dense(flat, size, 32, gain=size**-0.5)
    x = g.dense(x, 32, channels * low * low, gain=32**-0.5)
    return g.op("Reshape", x, g.constant([-1, channels, low, low], "int64"))


def _dfm_decoder(g: GraphBuilder, x: str, channels: int) -> tuple[str, str]:
    for _ in range(4):
        x = g.op("LeakyRelu", _shuffled(g, x, channels), alpha=0.1)
    picture, mask = (g.op("Sigmoid", g.convolution(x, (channels, n), 3)) for n in (3, 1))
    return picture, mask


def _gan_encoder(g: GraphBuilder, name: str, side: int, width: int) -> str:
    x = _nchw(g, name)
    for before, after in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
        x = g.op("LeakyRelu", g.convolution(x, (before, after), 5, 2), alpha=0.2)
    low = side // 8
    return _inner(g, g.op("Flatten", x), 4 * width * low * low, 4 * width, low)


def _gan_decoder(g: GraphBuilder, x: str, width: int) -> str:
    for _ in range(3):
        x = g.op("LeakyRelu", _shuffled(g, x, 4 * width), alpha=0.2)
    opacity = g.op("Sigmoid", g.convolution(x, (4 * width, 1), 5))
    return g.op("Concat", opacity, g.op("Tanh", g.convolution(x, (4 * width, 3), 5)), axis=1)


# --- masks -------------------------------------------------------------------------------------------------


def xseg_graph(path: Path, *, width: int = 4, batch: int | str = "n") -> Path:
    """XSeg: a U-Net, NHWC, (n, 256, 256, 3) to (n, 256, 256, 1) by a sigmoid."""
    g = GraphBuilder(seed=6)
    x, skips = _nchw(g, "input"), []
    for before, after in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
        x = g.op("Relu", g.convolution(x, (before, after), 3))
        skips.append((x, after))
        x = g.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    channels = 4 * width
    for skip, wide in reversed(skips):
        x = g.op("Concat", _nearest(g, x, 2), skip, axis=1)
        x = g.op("Relu", g.convolution(x, (channels + wide, wide), 3))
        channels = wide
    _nhwc(g, g.op("Sigmoid", g.convolution(x, (channels, 1), 3)), "output")
    inputs, outputs = Tensor("input", (batch, 256, 256, 3)), Tensor("output", (batch, 256, 256, 1))
    return g.save(path, [inputs], [outputs])


def bare_where_red(path: Path, side: int = 256) -> Path:
    """XSeg's form: a pixel is bare face where it is red, by far more than green and blue."""
    g = GraphBuilder()
    weights = g.constant(np.array([[-4.0], [-4.0], [8.0]]))
    centred = g.op("Sub", g.op("MatMul", "input", weights), g.constant(1.0))
    _named(g, g.op("Sigmoid", g.op("Mul", centred, g.constant(8.0))), "output")
    return g.save(path, [Tensor("input", ("n", side, side, 3))], [Tensor("output", ("n", side, side, 1))])


def bisenet_graph(path: Path, *, width: int = 4, classes: int = 19, side: int = 512) -> Path:
    """BiSeNet: a context path at an eighth, fused and enlarged to logits (1, 19, 512, 512)."""
    g = GraphBuilder(seed=7)
    x = "input"
    for before, after in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
        x = g.op("Relu", g.convolution(x, (before, after), 3, 2))
    attention = g.op("Sigmoid", g.convolution(g.op("GlobalAveragePool", x), (4 * width, 4 * width), 1))
    x = g.convolution(g.op("Mul", x, attention), (4 * width, classes), 1)
    g.op("Resize", x, "", g.constant([1, 1, 8, 8], "float32"), mode="linear")
    g.rename_last("output")
    return g.save(path, [Tensor("input", (1, 3, side, side))], [Tensor("output", (1, classes, side, side))])


# --- enhancers ---------------------------------------------------------------------------------------------


def restoration_graph(path: Path, *, side: int = 512, width: int = 8, weight: bool = False) -> Path:
    """GFPGAN's form: a code of the whole face styles its features; weight: CodeFormer's second input."""
    g = GraphBuilder(seed=8)
    code = _embedded(g, "input", width, 32)
    if weight:
        code = g.op("Mul", code, g.op("Cast", "weight", to=1))
    picture, _ = styled_picture(g, "input", code, 32, width, 1, (-1.0, 1.0))
    _named(g, picture, "output")
    inputs = [Tensor("input", (1, 3, side, side))]
    if weight:
        inputs.append(Tensor("weight", (1,), "float64"))
    return g.save(path, inputs, [Tensor("output", (1, 3, side, side))])


def restoration_echo(path: Path, side: int = 512) -> Path:
    g = GraphBuilder()
    _named(g, "input", "output")
    return g.save(path, [Tensor("input", (1, 3, side, side))], [Tensor("output", (1, 3, side, side))])


def super_resolution_graph(path: Path, *, scale: int = 4, width: int = 8) -> Path:
    """Real-ESRGAN's compact form: convolutions, depth to space, added to the enlarged picture."""
    g = GraphBuilder(seed=9)
    x = g.op("PRelu", g.convolution("input", (3, width), 3), g.constant(np.full((width, 1, 1), 0.2)))
    x = g.op("Mul", g.convolution(x, (width, 3 * scale * scale), 3), g.constant(0.02))
    fine = g.op("DepthToSpace", x, blocksize=scale, mode="CRD")
    _named(g, g.op("Add", fine, _nearest(g, "input", scale)), "output")
    return g.save(path, [Tensor("input", ("n", 3, "h", "w"))], [Tensor("output", ("n", 3, "H", "W"))])


def enlarging(path: Path, scale: int = 4) -> Path:
    """The picture, enlarged and nothing else."""
    g = GraphBuilder()
    g.op(
        *("Resize", "input", "", g.constant([1, 1, scale, scale], "float32")),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    g.rename_last("output")
    return g.save(path, [Tensor("input", ("n", 3, "h", "w"))], [Tensor("output", ("n", 3, "H", "W"))])


# --- encoders ----------------------------------------------------------------------------------------------


def vector_graph(
    path: Path, *, side: int = 160, dimension: int = 128, nhwc: bool = True, seed: int = 10
) -> Path:
    """FaceNet's form: NHWC crops of 160 to a vector of length 1 (n, 128); nhwc=False: NCHW, (n, D, 1, 1)."""
    g = GraphBuilder(seed=seed)
    x = _nchw(g, "image") if nhwc else "image"
    for before, after in ((3, 8), (8, 16), (16, 16)):
        x = g.op("Relu", g.convolution(x, (before, after), 3, 2))
    pooled = g.op("Flatten", g.op("AveragePool", x, kernel_shape=[4, 4], strides=[4, 4]))
    low = -(-side // 8) // 4
    vector = g.op("LpNormalization", g.dense(pooled, 16 * low * low, dimension), axis=1, p=2)
    shape: tuple[int | str, ...] = ("n", dimension)
    if not nhwc:
        vector = g.op("Unsqueeze", vector, g.constant([2, 3], "int64"))
        shape = ("n", dimension, 1, 1)
    _named(g, vector, "embeddings")
    inputs = ("n", side, side, 3) if nhwc else ("n", 3, side, side)
    return g.save(path, [Tensor("image", inputs)], [Tensor("embeddings", shape)])


# --- parts -------------------------------------------------------------------------------------------------


def _embedded(g: GraphBuilder, x: str, width: int, length: int) -> str:
    """A picture to a vector: strided convolutions, the mean over the picture, a Gemm."""
    for before, after in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
        x = g.op("LeakyRelu", g.convolution(x, (before, after), 3, 2), alpha=0.2)
    return g.dense(g.op("Flatten", g.op("GlobalAveragePool", x)), 4 * width, length)


def _ranged(g: GraphBuilder, x: str, mean: float, std: float, output_range: tuple[float, float]) -> str:
    low, high = output_range
    plain = g.op("Add", g.op("Mul", x, g.constant(std)), g.constant(mean))
    return g.op("Add", g.op("Mul", plain, g.constant(high - low)), g.constant(low))


def _nearest(g: GraphBuilder, x: str, scale: int) -> str:
    return g.op("Resize", x, "", g.constant([1, 1, scale, scale], "float32"), mode="nearest")


def _pooled(g: GraphBuilder, x: str) -> str:
    return g.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])


def _shuffled(g: GraphBuilder, x: str, channels: int) -> str:
    return g.op("DepthToSpace", g.convolution(x, (channels, 4 * channels), 3), blocksize=2)


def _nchw(g: GraphBuilder, x: str) -> str:
    return g.op("Transpose", x, perm=[0, 3, 1, 2])


def _nhwc(g: GraphBuilder, x: str, name: str) -> None:
    g.op("Transpose", x, perm=[0, 2, 3, 1])
    g.rename_last(name)


def _named(g: GraphBuilder, x: str, name: str) -> None:
    g.op("Identity", x)
    g.rename_last(name)
