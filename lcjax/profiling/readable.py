"""Figures of `benchmark` as text."""

from typing import Any

from lcjax.runs.timer import duration

# Key -> (unit, factor, digits); in this order.
_LINES = (
    ("images_per_second", "images/s", 1, 2),
    ("images_per_second_per_device", "images/s of each device", 1, 2),
    ("megapixels_per_second", "Mpixel/s", 1, 2),
    ("compile_seconds", "s to compile", 1, 1),
    ("trace_seconds", "s of that to trace, which no cache spares", 1, 1),
    ("flops_per_image", "GFLOP an image, by the network", 1e-9, 2),
    ("flops_per_second", "GFLOP/s reached", 1e-9, 1),
    ("mfu", "% of the peak of bf16 (MFU)", 100, 1),
    ("traffic_bytes_per_image", "MB of main memory an image", 1e-6, 1),
    ("bytes_per_image", "MB an image, by the compiler's count", 1e-6, 1),
    ("memory_bytes", "MB held by the step, by the compiler", 1e-6, 0),
    ("peak_device_bytes", "MB of the device at the most", 1e-6, 0),
    ("peak_process_bytes", "MB of this process at the most", 1e-6, 0),
    ("input_images_per_second", "images/s from the loader alone", 1, 1),
    ("data_wait_share", "% of the time waiting for data", 100, 1),
)


def text(found: dict[str, Any]) -> str:
    """The figures of a training step or of inference, or of several numbers of devices, to read."""
    if found["what"] == "scaling":
        return _scaling(found["rows"])
    times = found["step_ms"]
    lines = [
        f"{found['what']} of {found['model']}, {found['precision']}, {found['batch_size']} images on {found['device']}",
        f"{times['median']:12.2f} ms, median; {times['p10']:.2f} to {times['p90']:.2f} from the tenth to the ninetieth "
        "percentile",
    ]
    lines += [f"{found[key] * factor:12,.{digits}f} {unit}" for key, unit, factor, digits in _LINES if key in found]
    if roof := found.get("roofline"):
        lines.append(
            f"{100 * roof['share']:12.1f} % of the roofline: {roof['bound_ms']:.2f} ms at best with "
            f"{roof['peak_flops'] / 1e9:,.0f} GFLOP/s and {roof['bandwidth'] / 1e9:,.1f} GB/s ({roof['peaks']})"
            + "; bytes that caches served are counted, too"
            * (roof["share"] > 1)
        )
    if way := found.get("scene"):
        parts = ", ".join(f"{name.replace('_', ' ')} {seconds:.1f} s" for name, seconds in way["seconds"].items())
        lines.append(
            f"{way['megapixels_per_second']:12.2f} Mpixel/s from a scene of {way['width']} x {way['height']} px to its "
            f"map: {way['total_seconds']:.1f} s ({parts})"
        )
    if ahead := found.get("forecast"):
        parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in ahead["seconds"].items())
        lines.append(
            f"a scene of {ahead['width']:,} x {ahead['height']:,} px: about {duration(ahead['total_seconds'])} "
            f"({parts}), {ahead['tiles']:,} tiles, {ahead['strip_bytes'] / 1e9:.2f} GB of memory for a row of them; "
            f"{ahead['kind']}"
        )
    return "\n".join(lines)


def _scaling(rows: list[dict[str, Any]]) -> str:
    lines = [text(rows[-1]), "", "devices   images    median ms     images/s   efficiency"]
    for row in rows:
        lines.append(
            f"{row['devices']:7}  {row['batch_size']:7}  {row['step_ms']['median']:11.2f}  "
            f"{row['images_per_second']:11.2f}  {row['efficiency']:11.3f}"
        )
    return "\n".join(lines)
