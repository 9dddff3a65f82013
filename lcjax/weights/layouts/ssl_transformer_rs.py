"""The two streams of Scheibenreif et al. 2022 (HSG-AIML/SSLTransformerRS), and of the 2024 report that took them up.

They learned from crops whose bands were divided by their largest value in the crop.
"""

import dataclasses

from lcjax.weights.layout import Input, Layout, Part
from lcjax.weights.layouts.microsoft_swin import BUFFERS, RULES
from lcjax.weights.layouts.swin_unet import DECODER
from lcjax.weights.layouts.torchgeo_resnet import SENTINEL2
from lcjax.weights.layouts.torchvision_resnet import RESNET, RESNETS

SENTINEL1 = ("VV", "VH")
_ORIGIN = "SEN12MS, divided by the largest value of each band in the crop"
_INPUTS = (
    Input(SENTINEL1, ("by_maximum",), "s1", _ORIGIN),
    Input(SENTINEL2, ("by_maximum",), "s2", _ORIGIN),
)
_STREAMS = ((1, "s1"), (2, "s2"))
_HEAD = (r"^fc\.", "head for the classes of whole images")
_SOURCE = "https://github.com/HSG-AIML/SSLTransformerRS (names no licence of its own)"

SWIN = Layout(
    "ssl_transformer_rs",
    "two streams of SSLTransformerRS",
    ("two_stream_swin",),
    parts=(
        *(
            Part(rf"backbone{number}\.(?=patch_embed\.|layers\.|norm\.)", f"encoders/{stream}/", RULES)
            for number, stream in _STREAMS
        ),
        *(
            Part(
                rf"decoder{number}\.(?=layers_up\.|concat_back_dim\.|norm_up\.)",
                f"decoders/{stream}/",
                DECODER,
            )
            for number, stream in _STREAMS
        ),
        Part(r"decoder1\.up\.", "head/expand/"),
        Part(r"decoder1\.output\.", "head/classify/"),
    ),
    first=r"^backbone[12]\.patch_embed\.proj\.weight$",
    marks=(r"^backbone1\.patch_embed\.", r"^backbone2\.patch_embed\.", r"^backbone1\.layers\.0\.downsample\."),
    against=(r"^expand_channels\.",),
    unused=(
        BUFFERS,
        (r"^decoder\d\.layers\.", "an encoder in the decoder that is never called"),
        (r"^decoder2\.(up|output)\.", "a second head that is never called"),
        (r"^backbone\d\.head\.", "a head for ImageNet's classes that is never called"),
        _HEAD,
    ),
    copies=((r"^decoder(\d)\.backbone\.", r"backbone\1."),),
    inputs=_INPUTS,
    source=_SOURCE,
)

LAYOUTS = (
    SWIN,
    dataclasses.replace(
        SWIN,
        name="report2024_two_streams",
        title="two streams of the 2024 report, which show aerial images to the encoders of Sentinel",
        parts=(*SWIN.parts, Part(r"expand_channels\.", "adapters/s2/")),
        marks=(*SWIN.marks, r"^expand_channels\.weight$"),
        against=(),
        inputs=tuple(
            dataclasses.replace(one, scaling=("range",), origin="FLAIR, as bytes from 0 to 1") for one in _INPUTS
        ),
        source="https://github.com/BertilleT/land_cover_map_Transformers_SSL (publishes no weights)",
    ),
    Layout(
        "ssl_transformer_rs_resnet",
        "two ResNets of SSLTransformerRS",
        RESNETS,
        parts=(
            *(
                Part(rf"backbone{number}\.(?=conv1\.|bn1\.|layer\d\.)", f"encoders/{stream}/", RESNET)
                for number, stream in _STREAMS
            ),
            *(Part(rf"backbone{number}\.fc\.0\.", f"projections/{stream}/hidden/") for number, stream in _STREAMS),
            *(Part(rf"backbone{number}\.fc\.2\.", f"projections/{stream}/out/") for number, stream in _STREAMS),
        ),
        first=r"^backbone[12]\.conv1\.weight$",
        marks=(r"^backbone1\.bn1\.weight$", r"^backbone2\.layer4\.0\.conv2\.weight$"),
        unused=(_HEAD,),
        inputs=_INPUTS,
        source=_SOURCE,
    ),
)
