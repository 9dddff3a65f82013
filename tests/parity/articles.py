"""Networks that no library has, written in PyTorch from their articles' descriptions, on the layers of libraries."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from transformers.models.swin.modeling_swin import SwinConfig, SwinModel, SwinStage


def channels_last(x_BxCxHxW: torch.Tensor) -> torch.Tensor:
    return x_BxCxHxW.permute(0, 2, 3, 1)


def channels_first(x_BxHxWxC: torch.Tensor) -> torch.Tensor:
    return x_BxHxWxC.permute(0, 3, 1, 2)


class Double(nn.Sequential):
    """Twice a biased 3x3 convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, middle: int, outputs: int):
        super().__init__(
            nn.Conv2d(inputs, middle, 3, padding=1),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class UNet(nn.Module):
    """Ronneberger et al. 2015 with padding and batch norm, after the widely used code: stages as `features`."""

    def __init__(self, bands: int, classes: int, *, base: int, upsampling: str):
        super().__init__()
        transposed, self.align_corners = upsampling == "transposed", upsampling == "align_corners"
        b, last = base, 16 * base if transposed else 8 * base
        self.down = nn.ModuleList(
            [Double(i, o, o) for i, o in [(bands, b), (b, 2 * b), (2 * b, 4 * b), (4 * b, 8 * b), (8 * b, last)]]
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList()
        if transposed:
            widths = [8 * b, 4 * b, 2 * b, b]
            self.up.extend([nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths])
            self.after = nn.ModuleList([Double(2 * w, w, w) for w in widths])
        else:
            after = [(16 * b, 8 * b, 4 * b), (8 * b, 4 * b, 2 * b), (4 * b, 2 * b, b), (2 * b, b, b)]
            self.after = nn.ModuleList([Double(*widths) for widths in after])
        self.classify = nn.Conv2d(base, classes, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        skips = [self.down[0](x)]
        for level in self.down[1:]:
            skips.append(level(self.pool(skips[-1])))
        stages = {f"image/encoder/{i}": skip for i, skip in enumerate(skips)}
        x = skips.pop()
        for i, after in enumerate(self.after):
            if len(self.up):
                x = self.up[i](x)
            else:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=self.align_corners)
            x = after(torch.cat([skips.pop(), x], dim=1))
            stages[f"image/decoder/{i}"] = x
        return stages | {"head": self.classify(x)}


class Expand(nn.Module):
    """Cao et al. 2021: a linear layer without bias, its outputs laid out in space, layer norm."""

    def __init__(self, inputs: int, outputs: int, factor: int):
        super().__init__()
        self.expand = nn.Linear(inputs, factor**2 * outputs, bias=False)
        self.norm = nn.LayerNorm(outputs)
        self.factor = factor

    def forward(self, x_BxHxWxC: torch.Tensor) -> torch.Tensor:
        x = self.expand(x_BxHxWxC)
        b, h, w, c = x.shape
        f = self.factor
        x = torch.einsum("bhwrsc->bhrwsc", x.view(b, h, w, f, f, c // f**2)).reshape(b, h * f, w * f, c // f**2)
        return self.norm(x)


class SwinStream(nn.Module):
    """Encoder, and a decoder with a stage for each of the encoder's but the last; features channels last."""

    def __init__(self, config: SwinConfig, decoder_depths: Sequence[int]):
        super().__init__()
        self.encoder = SwinModel(config, add_pooling_layer=False)
        levels = range(len(config.depths) - 2, -1, -1)
        widths = [config.embed_dim * 2**level for level in levels]
        self.expands = nn.ModuleList([Expand(2 * width, width, 2) for width in widths])
        self.joins = nn.ModuleList([nn.Linear(2 * width, width) for width in widths])
        self.stages = nn.ModuleList(
            [
                SwinStage(
                    config,
                    dim=width,
                    input_resolution=(0, 0),
                    depth=decoder_depths[level],
                    num_heads=config.num_heads[level],
                    drop_path=[0.0] * decoder_depths[level],
                    downsample=None,
                )
                for level, width in zip(levels, widths, strict=True)
            ]
        )
        self.norm = nn.LayerNorm(config.embed_dim)

    def forward(self, image: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        found = self.encoder(image, output_hidden_states=True, always_partition=True)
        # The last two are what leaves the last stage and what enters it.
        *entering, last = [channels_last(state) for state in found.reshaped_hidden_states]
        pyramid = [*entering[:-1], found.last_hidden_state.view(last.shape)]
        x, decoded = pyramid[-1], []
        for expand, join, stage, skip in zip(self.expands, self.joins, self.stages, pyramid[-2::-1], strict=True):
            x = join(torch.cat([expand(x), skip], dim=-1))
            _, h, w, c = x.shape
            x = stage(x.reshape(-1, h * w, c), (h, w), always_partition=True)[0].view(-1, h, w, c)
            decoded.append(x)
        return pyramid, [*decoded[:-1], self.norm(x)]


class SwinUNet(nn.Module):
    """One stream, or several whose last features are joined before the last expansion."""

    def __init__(self, configs: dict[str, SwinConfig], decoder_depths: Sequence[int], classes: int):
        super().__init__()
        self.streams = nn.ModuleDict({name: SwinStream(config, decoder_depths) for name, config in configs.items()})
        (embed, patch), *_ = {(config.embed_dim, config.patch_size) for config in configs.values()}
        joined = embed * len(configs)
        self.expand = Expand(joined, joined, patch)
        self.classify = nn.Conv2d(joined, classes, 1, bias=False)

    def forward(self, images: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        stages, last = {}, []
        for name, stream in self.streams.items():
            pyramid, decoded = stream(images[name])
            stages |= {f"{name}/encoder/{i}": channels_first(feature) for i, feature in enumerate(pyramid)}
            stages |= {f"{name}/decoder/{i}": channels_first(feature) for i, feature in enumerate(decoded)}
            last.append(decoded[-1])
        x = self.expand(torch.cat(last, dim=-1))
        return stages | {"head": self.classify(channels_first(x))}


class ChannelNorm(nn.LayerNorm):
    """A layer norm of the channels of (B, C, H, W)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return channels_first(super().forward(channels_last(x)))


class SimplePyramid(nn.Module):
    """Li et al. 2022: four levels from one feature, at 4, 2, 1 and 1/2 times its resolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.four1 = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
        self.four_norm = ChannelNorm(channels // 2)
        self.four2 = nn.ConvTranspose2d(channels // 2, channels // 4, 2, stride=2)
        self.two = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        four = self.four2(F.gelu(self.four_norm(self.four1(x))))
        return [four, self.two(x), x, F.max_pool2d(x, kernel_size=2, stride=2)]
