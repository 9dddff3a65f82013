"""Our ResNet as torchvision would save it: for tests of what is read from elsewhere."""

import numpy as np


def state_dict(of):
    """The encoder's values by torchvision's names, in PyTorch's layout, none of them zero."""
    generator = np.random.default_rng(1)
    found = {"fc.weight": generator.standard_normal((10, 4)), "fc.bias": generator.standard_normal(10)}
    leaves = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    for path, shape in (of.parameters | of.statistics).items():
        if not path.startswith("encoders/"):
            continue
        _, _, *modules, leaf = path.split("/")
        if modules[0] == "stem":
            name = {"conv": "conv1", "norm": "bn1"}[modules[1]]
        else:
            _, stage, block, *rest = modules
            last = {"shortcut": {"conv": "downsample.0", "norm": "downsample.1"}}.get(rest[0], {}).get(rest[-1])
            last = last or {"conv": "conv", "norm": "bn"}[rest[-1]] + str(int(rest[1]) + 1)
            name = f"layer{int(stage) + 1}.{block}.{last}"
        value = generator.standard_normal(shape.shape).astype(np.float32)
        found[f"{name}.{leaves[leaf]}"] = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
        if leaf == "mean":
            found[f"{name}.num_batches_tracked"] = np.array(7)
    return found
