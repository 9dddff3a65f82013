"""What a network is made of, in words and numbers: stages of steps, and `text` of them."""

import dataclasses
from collections.abc import Iterator

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Step:
    """Something that a feature passes.

    Attributes:
      kind: "convolution", "attention", "resample", "join", "dense" or "input": the colour in a picture.
      title: what it is, in a few words.
      detail: its numbers.
    """

    kind: str
    title: str
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Stage:
    """Steps between two features.

    Attributes:
      stride: of the feature that leaves it, in pixels of the image.
      before: small steps, in order, ahead of the main one.
      main: what the stage is for.
      shape: of the feature that leaves it: rows, columns, channels.
      parameters: of all its steps.
      skip: where the feature for the decoder leaves an encoder's stage: "" (nowhere), "before" the main step or "after"
        it; of a decoder's stage: whether a skip comes in ("in").
    """

    stride: int
    before: tuple[Step, ...]
    main: Step
    shape: Shape
    parameters: int
    skip: str = ""


@dataclasses.dataclass(frozen=True)
class Stream:
    """One encoder and its decoder.

    Attributes:
      sensors: whose bands it takes, side by side.
      shape: of the image.
      trunk: what stands before a pyramid that is made of one feature.
      encoder: stages, finest first.
      decoder: stages, coarsest first.
      fuse: what joins all stages of the decoder.
    """

    sensors: tuple[str, ...]
    shape: Shape
    trunk: tuple[Stage, ...]
    encoder: tuple[Stage, ...]
    decoder: tuple[Stage, ...] = ()
    fuse: tuple[Stage, ...] = ()

    def stages(self) -> Iterator[Stage]:
        """All of them, in the order of the computation."""
        yield from (*self.trunk, *self.encoder, *self.decoder, *self.fuse)


@dataclasses.dataclass(frozen=True)
class Network:
    """A network as it is built from a config.

    Attributes:
      argument: of the config: its text after the colon.
      streams: one or more.
      head: what turns the joined features into logits; in pre-training, each encoder's feature into an embedding.
      parameters: of all.
      macs: multiply-accumulates for one image, or one image of each sensor.
    """

    argument: str
    streams: tuple[Stream, ...]
    head: Stage
    parameters: int
    macs: int = 0


def shape_text(shape: Shape) -> str:
    """224 × 224 × 96."""
    return " × ".join(map(str, shape))


def _stage_text(what: str, stage: Stage) -> str:
    steps = [
        f"{s.kind}: {s.title}" + (f" ({s.detail})".replace("\n", ", ") if s.detail else "")
        for s in (*stage.before, stage.main)
    ]
    skip = f"  [skip {stage.skip}]" if stage.skip else ""
    return f"  {what} /{stage.stride}  {'; '.join(steps)}  -> {shape_text(stage.shape)}  {stage.parameters:,}{skip}"


def text(name: str, network: Network) -> str:
    """A network in lines, a stage each; the numbers at the end are parameters."""
    lines = [f"{name} ({network.argument})  {network.parameters:,} parameters, {network.macs:,} MACs"]
    for stream in network.streams:
        lines.append(f"  image {'+'.join(stream.sensors)}  -> {shape_text(stream.shape)}")
        for role in ("trunk", "encoder", "decoder", "fuse"):
            lines += [_stage_text(role, stage) for stage in getattr(stream, role)]
    return "\n".join([*lines, _stage_text("head", network.head)]) + "\n"
