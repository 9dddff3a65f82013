"""What networks are made of, read from the networks themselves: the stages of each with shapes, words and parameters.

Nothing is computed: a network is built and called on shapes alone. `draw_models.py` draws what this finds, and a test
compares it with the committed `images/models/anatomy.txt`, so that pictures do not go stale.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from stages import Network, Shape, Stage, Step, Stream

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.schema.sensors import S1, S2, SENSORS
from lcjax.configs import dfc2020, pretrain
from lcjax.engine import flops
from lcjax.models import backbone_unet, efficientnet, heads, params, registry, resnet, swin, unet, upernet, vit
from lcjax.tasks.fusion import inputs_of, sensors_of, streams_of


def count(*modules) -> int:
    """Parameters of modules."""
    leaves = [leaf for module in modules for leaf in jax.tree.leaves(nnx.state(module, nnx.Param))]
    return sum(math.prod(leaf.shape) for leaf in leaves)


def _several(number: int, one: str) -> str:
    return one if number == 1 else f"{number} {one}s"


def _edge(conv: nnx.Conv) -> str:
    return "×".join(map(str, conv.kernel_size))


def _stride(conv: nnx.Conv) -> int:
    return conv.strides if isinstance(conv.strides, int) else (conv.strides or (1,))[0]


def _stage(stride: int, before: Iterable[Step], main: Step, feature: jax.Array, modules, skip: str = "") -> Stage:
    return Stage(stride, tuple(before), main, feature.shape[1:], count(*modules), skip)


# Encoders: (encoder, its pyramid) -> trunk and stages, finest first. A pyramid comes finest first.


def _double(block: unet.DoubleConv) -> Step:
    widths = (block.conv1.in_features, block.conv1.out_features, block.conv2.out_features)
    return Step("convolution", f"double convolution {_edge(block.conv1)}", " → ".join(map(str, widths)))


def _unet_encoder(encoder: unet.UNetEncoder, pyramid: Sequence[jax.Array]):
    pool = Step("resample", "max pooling 2×2")
    last = len(pyramid) - 1
    for i, (level, feature) in enumerate(zip(encoder.levels, pyramid, strict=True)):
        yield _stage(encoder.strides[i], [pool] if i else [], _double(level), feature, [level], "after" * (i < last))


_RESNET_BLOCKS = {resnet.BasicBlock: "basic block", resnet.Bottleneck: "bottleneck"}


def _resnet_block(blocks: Sequence) -> Step:
    layers = blocks[-1].layers
    edges = ", ".join(_edge(layer.conv) for layer in layers)
    return Step(
        "convolution",
        _several(len(blocks), _RESNET_BLOCKS[type(blocks[0])]),
        f"{edges} · {layers[0].conv.out_features} wide inside",
    )


def _resnet_encoder(encoder: resnet.ResNetEncoder, pyramid: Sequence[jax.Array]):
    stem = encoder.stem.conv
    first = Step("convolution", f"convolution {_edge(stem)}", f"stride {_stride(stem)} · batch norm · ReLU")
    yield _stage(encoder.strides[0], [], first, pyramid[0], [encoder.stem], "after")
    last = len(encoder.stages) - 1
    for i, (blocks, feature) in enumerate(zip(encoder.stages, pyramid[1:], strict=True)):
        before = [] if i else [Step("resample", "max pooling 3×3, stride 2")]
        yield _stage(encoder.strides[i + 1], before, _resnet_block(blocks), feature, [blocks], "after" * (i < last))


def _inverted(blocks: Sequence) -> str:
    """How many of which kind, and what leaves them: "2 × MBConv6 3×3 → 24"."""
    layers = blocks[0].layers
    depthwise, narrow = layers[-2].conv, layers[-1].conv
    expansion = depthwise.in_features // (layers[0].conv.in_features if len(layers) > 2 else depthwise.in_features)
    return f"{len(blocks)} × MBConv{expansion} {_edge(depthwise)} → {narrow.out_features}"


def _efficientnet_encoder(encoder: efficientnet.EfficientNetEncoder, pyramid: Sequence[jax.Array]):
    start = 0
    for i, (end, feature) in enumerate(zip(encoder.kept, pyramid, strict=True)):
        stages = encoder.stages[start : end + 1]
        stem = encoder.stem.conv
        before = [] if i else [Step("convolution", f"convolution {_edge(stem)}, stride {_stride(stem)}")]
        number = sum(len(blocks) for blocks in stages)
        main = Step("convolution", _several(number, "inverted residual"), "\n".join(map(_inverted, stages)))
        modules = [*stages, *([] if i else [encoder.stem])]
        yield _stage(encoder.strides[i], before, main, feature, modules, "after" * (end < encoder.kept[-1]))
        start = end + 1


def _swin_blocks(blocks: Sequence[swin.SwinBlock]) -> Step:
    first = blocks[0]
    return Step(
        "attention",
        _several(len(blocks), "Swin block"),
        f"window {first.window} · {_several(first.attention.heads, 'head')}",
    )


def _swin_encoder(encoder: swin.SwinEncoder, pyramid: Sequence[jax.Array]):
    skip = "after" if encoder.norms else "before"
    last = len(pyramid) - 1
    merge = Step("resample", "patch merging 2×2")
    embed = Step("resample", f"patch embedding {_edge(encoder.embed)}")
    for i, (blocks, feature) in enumerate(zip(encoder.stages, pyramid, strict=True)):
        ahead = [encoder.merges[i - 1]] if i else [encoder.embed, encoder.embed_norm]
        norms = [encoder.norm] if i == last else [encoder.norms[i]] if encoder.norms else []
        yield _stage(
            encoder.strides[i],
            [merge if i else embed],
            _swin_blocks(blocks),
            feature,
            [*ahead, blocks, *norms],
            skip * (i < last),
        )


def _vit_trunk(encoder: vit.ViTEncoder, pyramid: Sequence[jax.Array]) -> Stage:
    block = encoder.stages[0][0]
    embed = Step("resample", f"patch embedding {_edge(encoder.embed)}")
    position = Step("join", f"class token, {encoder.grid} × {encoder.grid} positions")
    main = Step("attention", _several(len(encoder.stages), "transformer block"), f"{block.heads} heads, all tokens")
    tokens = [encoder.embed, encoder.stages, encoder.norm]
    own = math.prod(encoder.position.shape) + math.prod(encoder.class_token.shape)
    stage = _stage(encoder.strides[2], [embed, position], main, pyramid[2], tokens)
    return dataclasses.replace(stage, parameters=stage.parameters + own)


def _vit_pyramid(encoder: vit.ViTEncoder, pyramid: Sequence[jax.Array]):
    up = "transposed conv. 2×2"
    for i, (main, modules) in enumerate(
        [
            (Step("resample", "enlarged ×4", f"{up}, twice"), [encoder.finest1, encoder.finest_norm, encoder.finest2]),
            (Step("resample", "enlarged ×2", up), [encoder.finer]),
            (Step("resample", "as it is", "without the class token"), []),
            (Step("resample", "max pooling 2×2"), []),
        ]
    ):
        yield _stage(encoder.strides[i], [], main, pyramid[i], modules, "after")


ENCODERS: dict[type, tuple[Callable | None, Callable]] = {
    unet.UNetEncoder: (None, _unet_encoder),
    resnet.ResNetEncoder: (None, _resnet_encoder),
    efficientnet.EfficientNetEncoder: (None, _efficientnet_encoder),
    swin.SwinEncoder: (None, _swin_encoder),
    vit.ViTEncoder: (_vit_trunk, _vit_pyramid),
}

# Decoders: (decoder, strides of the encoder, its features) -> stages, coarsest first, as the features come.


def _unet_decoder(decoder: unet.UNetDecoder, strides: Sequence[int], features: Sequence[jax.Array]):
    for i, (level, feature) in enumerate(zip(decoder.levels, features, strict=True)):
        up = "transposed convolution 2×2" if decoder.ups else "bilinear ×2"
        before = [Step("resample", up), Step("join", "concat: skip, upsampled")]
        modules = [level, *decoder.ups[i : i + 1]]
        yield _stage(strides[-2 - i], before, _double(level), feature, modules, "in")


def _backbone_decoder(decoder: backbone_unet.BackboneDecoder, strides: Sequence[int], features: Sequence[jax.Array]):
    for i, (level, feature) in enumerate(zip(decoder.levels, features, strict=True)):
        has_skip = i + 1 < len(strides)
        before = [Step("resample", "nearest ×2"), *([Step("join", "concat: upsampled, skip")] * has_skip)]
        first, second = level.first.conv, level.second.conv
        widths = (first.in_features, first.out_features, second.out_features)
        main = Step("convolution", f"double convolution {_edge(first)}", " → ".join(map(str, widths)))
        yield _stage(strides[-1] >> (i + 1), before, main, feature, [level], "in" * has_skip)


def _swin_decoder(decoder: swin.SwinDecoder, strides: Sequence[int], features: Sequence[jax.Array]):
    parts = zip(decoder.expands, decoder.joins, decoder.stages, features, strict=True)
    for i, (expand, join, blocks, feature) in enumerate(parts):
        before = [
            Step("resample", f"patch expanding ×{expand.factor}"),
            Step("join", f"concat + linear {join.in_features} → {join.out_features}"),
        ]
        norms = [decoder.norm] if i + 1 == len(features) else []
        yield _stage(strides[-2 - i], before, _swin_blocks(blocks), feature, [expand, join, blocks, *norms], "in")


def _conv(layer, title: str = "convolution") -> Step:
    return Step("convolution", f"{title} {_edge(layer.conv)}", f"{layer.conv.in_features} → {layer.conv.out_features}")


def _upernet_decoder(decoder: upernet.UPerNetDecoder, strides: Sequence[int], features: Sequence[jax.Array]):
    bins = ", ".join(map(str, upernet.POOLS))
    pooling = Step("join", f"pooled to {bins} bins; conv. {_edge(decoder.pools[0].conv)}; concat")
    yield _stage(
        strides[-1], [pooling], _conv(decoder.bottleneck), features[0], [*decoder.pools, decoder.bottleneck], "in"
    )
    for i, feature in enumerate(features[1:-1]):
        lateral, smooth = decoder.laterals[-1 - i], decoder.smooths[-1 - i]
        before = [
            _conv(lateral),
            Step("join", "plus the level below, bilinear ×2"),
        ]
        yield _stage(strides[-2 - i], before, _conv(smooth), feature, [lateral, smooth], "in")
    before = [Step("resample", f"all resized to stride {strides[0]}, bilinear"), Step("join", "concat")]
    yield _stage(strides[0], before, _conv(decoder.join), features[-1], [decoder.join])


DECODERS: dict[type, Callable] = {
    unet.UNetDecoder: _unet_decoder,
    backbone_unet.BackboneDecoder: _backbone_decoder,
    swin.SwinDecoder: _swin_decoder,
    upernet.UPerNetDecoder: _upernet_decoder,
}


def _head_steps(head) -> tuple[Step, ...]:
    classify = head.classify
    ends = (classify.in_features, classify.out_features)
    to_classes = " → ".join(map(str, ends))
    if isinstance(head, heads.ConvHead):
        return (Step("head", f"convolution {_edge(classify)}", to_classes),)
    steps = [Step("head", "convolution 1×1", to_classes)]
    if isinstance(head, swin.SwinHead):
        expand = head.expand
        steps.insert(0, Step("resample", f"patch expanding ×{expand.factor}"))
    return tuple(steps)


def _stream(sensors, encoder, pyramid, image, decoder=None, features=()) -> Stream:
    trunk, stages = ENCODERS[type(encoder)]
    found = list(DECODERS[type(decoder)](decoder, encoder.strides, features)) if decoder else []
    # What a decoder joins all of its stages by stands apart.
    cut = len(found) - isinstance(decoder, upernet.UPerNetDecoder)
    return Stream(
        tuple(sensors),
        image.shape[1:],
        (trunk(encoder, pyramid),) if trunk else (),
        tuple(stages(encoder, pyramid)),
        tuple(found[:cut]),
        tuple(found[cut:]),
    )


def _checked(network: Network) -> Network:
    drawn = sum(stage.parameters for stream in network.streams for stage in stream.stages())
    if drawn + network.head.parameters != network.parameters:
        raise AssertionError(f"{network.argument}: stages hold {drawn + network.head.parameters} parameters")
    return network


def _looked_at(build: Callable, look: Callable[[Any, dict], Network], images: Mapping[str, Shape]) -> Network:
    """What `look` sees of a network, and of images, whose values do not exist."""
    template = params.Template(build)
    arrays = {name: jax.ShapeDtypeStruct((1, *shape), jnp.float32) for name, shape in images.items()}
    known = template.parameters, template.statistics, arrays
    seen = []
    jax.eval_shape(lambda p, s, inputs: seen.append(look(template.merge(p, s, train=False), inputs)), *known)
    cost = flops.cost(lambda p, s, inputs: template.merge(p, s, train=False)(inputs), *known)
    return _checked(dataclasses.replace(seen[0], macs=cost.macs))


def segmenter(argument: str) -> Network:
    """The segmentation network of `dfc2020:ARGUMENT`."""
    config = dfc2020.get_config(argument)
    streams = inputs_of(config.fusion, (S1, S2))

    def build(rngs):
        return registry.segmenter(
            config.model,
            streams=streams,
            classes=len(DFC2020.scored),
            precision=config.precision,
            rngs=rngs,
        )

    def look(model, images):
        found, last = [], []
        for name, given in model.streams:
            encoder, decoder = model.encoders[name], model.decoders[name]
            image = given.of(images)
            pyramid = encoder(image)
            features = decoder(pyramid)
            last.append(features[-1])
            taken = streams_of(config.fusion, (S1, S2))[name].sensors
            found.append(_stream(taken, encoder, pyramid, image, decoder, features))
        joined = jnp.concatenate(last, axis=-1)
        logits = model.head(joined)
        *before, main = _head_steps(model.head)
        if len(last) > 1:
            widths = " + ".join(str(feature.shape[-1]) for feature in last)
            before.insert(0, Step("join", f"concat: {widths}"))
        factor = config.crop // logits.shape[1]
        if factor > 1:
            main = dataclasses.replace(main, detail=f"{main.detail}, bilinear ×{factor}")
        # The segmenter brings the logits to the size of the image.
        shape = (config.crop, config.crop, logits.shape[-1])
        head = Stage(1, tuple(before), main, shape, count(model.head))
        return Network(argument, tuple(found), head, count(model))

    images = {
        sensor.name: (config.crop, config.crop, len(sensor.bands)) for sensor in sensors_of(config.fusion, (S1, S2))
    }
    return _looked_at(build, look, images)


def contrastive(argument: str) -> Network:
    """The network of `pretrain:ARGUMENT`; its head are the projections of one stream."""
    config = pretrain.get_config(argument)
    channels = {name: len(SENSORS[name].bands) for name in streams_of(config.fusion, (S1, S2))}

    def build(rngs):
        return registry.dual_encoder(
            config.model, channels=channels, projection=config.projection, precision=config.precision, rngs=rngs
        )

    def look(model, images):
        streams = []
        for name, encoder in model.encoders.items():
            streams.append(_stream([name], encoder, encoder(images[name]), images[name]))
        projection = next(iter(model.projections.values()))
        before = (
            Step("resample", "mean over space"),
            *(
                Step("dense", f"linear {layer.in_features} → {layer.out_features}{after}")
                for layer, after in ((projection.hidden, ", ReLU"), (projection.out, ""))
            ),
            Step("head", "to unit length"),
        )
        main = Step("head", "NT-Xent", f"temperature {config.temperature}")
        head = Stage(0, before, main, (projection.out.out_features,), count(model.projections))
        return Network(argument, tuple(streams), head, count(model))

    return _looked_at(build, look, {name: (config.crop, config.crop, bands) for name, bands in channels.items()})


# File name -> title, and how to get it.
NETWORKS: dict[str, tuple[str, Callable[[str], Network], str]] = {
    "unet": ("UNet, bilinear", segmenter, "model=unet"),
    "unet_transposed": ("UNet, transposed convolutions", segmenter, "model=unet,size=transposed"),
    "resnet34_unet": ("ResNet-34-UNet", segmenter, "model=resnet34_unet"),
    "resnet50_unet": ("ResNet-50-UNet", segmenter, "model=resnet50_unet"),
    "efficientnet_lite0_unet": ("EfficientNet-Lite0-UNet", segmenter, "model=efficientnet_lite0_unet"),
    "swin_unet": ("Swin-UNet", segmenter, "model=swin_unet"),
    "two_stream_swin": ("Two-stream Swin-UNet", segmenter, "model=two_stream_swin"),
    "swin_upernet": ("Swin-T with UPerNet", segmenter, "model=swin_upernet"),
    "vit_pyramid": ("ViT-B with a simple pyramid and UPerNet", segmenter, "model=vit_pyramid"),
    "pretraining": ("Contrastive pre-training", contrastive, "model=two_stream_swin"),
}


def network(name: str) -> Network:
    """What the picture of that file name shows."""
    _, find, argument = NETWORKS[name]
    return find(argument)
