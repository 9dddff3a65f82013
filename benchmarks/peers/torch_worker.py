"""The side of PyTorch: the network of a case, eager or compiled."""

import importlib
import os
import pathlib
import sys

import torch
import worker
from cases import BANDS, CASES, CLASSES, CLIP, LEARNING_RATE, WEIGHT_DECAY

from lcjax.models import registry

TESTS = pathlib.Path(__file__).resolve().parents[2] / "tests"


def network_of(case, precision: str, how: str):
    """The network, its number of parameters, what gives its logits, the device, and the context of its precision."""
    sys.path[:0] = [str(TESTS / "parity"), str(TESTS)]
    module, name = case.peer
    peer = getattr(importlib.import_module(module), name)(
        registry.sized(case.model, case.size), {"image": BANDS}, CLASSES
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(os.cpu_count() or 1)
    network = peer.network.to(device)
    if how == "channels_last":
        network = network.to(memory_format=torch.channels_last)

    def logits(network, images):
        found = peer.forward(network, {"image": images})["head"]
        if case.patches or found.shape[-2:] == images.shape[-2:]:
            return found
        # As UperNetForSemanticSegmentation does, whose head tells of a quarter of the rows and columns.
        return torch.nn.functional.interpolate(found, images.shape[-2:], mode="bilinear", align_corners=False)

    answer = torch.compile(logits) if how == "compile" else logits
    torch.set_float32_matmul_precision("high")  # TF32 on GPUs, which is what JAX takes for float32 there
    torch.backends.cudnn.allow_tf32 = True
    half = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    return network, peer.count, answer, device, half


def _build(case, mode: str, precision: str, batch: int, how: str):
    network, count, answer, device, half = network_of(case, precision, how)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((batch, BANDS, case.edge, case.edge), generator=generator).to(device)
    labels = torch.randint(
        0, CLASSES, (batch,) if case.patches else (batch, case.edge, case.edge), generator=generator
    ).to(device)
    if how == "channels_last":
        images = images.to(memory_format=torch.channels_last)

    def done() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    def forward() -> None:
        with torch.inference_mode(), half:
            answer(network, images)
        done()

    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with half:
            found = answer(network, images)
        loss = torch.nn.functional.cross_entropy(found.float(), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        done()

    network.train(mode == "training")
    return (step if mode == "training" else forward), count


def main(name: str, mode: str, precision: str, batch: str, output: str, how: str) -> None:
    """Serves a side of a case."""
    worker.serve(lambda: _build(CASES[name], mode, precision, int(batch), how))


if __name__ == "__main__":
    main(*sys.argv[1:])
