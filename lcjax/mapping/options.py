"""How scenes are mapped: what a user chooses of a map, and what of it has to be possible."""

import dataclasses

from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend
from lcjax.mapping import map_writer, sieve
from lcjax.mapping.combining.rules import CONFIDENCE, RULES
from lcjax.ops.tiling import BLENDS
from lcjax.runs.calibration import OFF, percent


@dataclasses.dataclass(frozen=True)
class Options:
    """How a scene is mapped.

    Attributes:
      overlap: pixels that neighbouring tiles share; None is a quarter of a tile.
      blend: how their answers are mixed there, a name in `tiling.BLENDS`.
      confidence: whether to write the probability of the mapped class, too.
      probabilities: whether to write the probability of every class, too.
      conformal: coverage of the sets of classes that are written, too: 0.5 to 0.99 in whole percents; 0 for none.
      mutual_information: whether to write how far the members of an ensemble disagree, too.
      mosaic: name of the rule by which many scenes become one map, in `combining.rules.RULES`; "" maps each alone.
      sieve: pixels that a region of one class has at least, smaller ones being taken out; 0 keeps all.
      calibrated: whether what is written of probabilities is calibrated, where calibration.json is there.
      vector: whether to write the map as polygons, too.
      compress: compression of the GeoTIFFs, one of `map_writer.COMPRESSIONS`.
      batch_size: largest number of tiles in a call of the network on a device; the map does not depend on it.
      max_memory: bytes that one row of tiles may take.
    """

    overlap: int | None = None
    blend: str = "linear"
    confidence: bool = False
    probabilities: bool = False
    conformal: float = 0.0
    mutual_information: bool = False
    mosaic: str = ""
    sieve: int = 0
    calibrated: bool = True
    vector: bool = False
    compress: str = "deflate"
    batch_size: int = 8
    max_memory: float = limits.STRIP_BYTES

    @property
    def tells(self) -> bool:
        """Whether anything of the probabilities is written."""
        return self.confidence or self.probabilities or bool(self.conformal) or self.mutual_information

    def products(self, legend: Legend) -> tuple[map_writer.Product, ...]:
        """Returns the GeoTIFFs of a map with these options, and its polygons."""
        return map_writer.products(
            legend,
            confidence=self.confidence,
            probabilities=self.probabilities,
            conformal=bool(self.conformal),
            mutual_information=self.mutual_information,
            scene=bool(self.mosaic),
            vector=self.vector,
        )

    def drafted(self, legend: Legend) -> tuple[map_writer.Product, ...]:
        """Returns what the draft of one scene holds: of its `products` what its pixels tell, and what those take."""
        products = tuple(product for product in self.products(legend) if product.kind != "scene")
        # A region that is taken out gets another class, and so the probability of that.
        needed = {"probabilities": bool(self.sieve) and self.confidence, "confidence": self.mosaic == CONFIDENCE}
        kinds = {product.kind for product in products}
        missing = {kind: True for kind, is_needed in needed.items() if is_needed and kind not in kinds}
        return *products, *map_writer.products(legend, **missing)[1:]

    @property
    def plan(self) -> dict:
        """The options that the bytes of a map depend on; those that are off are left out, as if there were none."""
        without = {"batch_size", "max_memory", "calibrated"}
        off = {
            name for name in ("conformal", "mutual_information", "mosaic", "sieve", "vector") if not getattr(self, name)
        }
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in without | off}

    def check(self, tile: int, classes: int = 1) -> int:
        """Checks the options and returns the overlap in pixels.

        Args:
          tile: side of a tile in pixels.
          classes: number of classes.

        Raises:
          InputError: an option is out of range or unknown.
        """
        overlap = tile // 4 if self.overlap is None else self.overlap
        if not 0 <= overlap <= tile // 2:
            raise InputError(f"--overlap={overlap}: expected 0 to {tile // 2}, half a tile of {tile} pixels")
        if not 1 <= self.batch_size <= limits.MAX_BATCH:
            raise InputError(f"--batch_size={self.batch_size}: expected 1 to {limits.MAX_BATCH:,}")
        for name, value, known in (
            ("blend", self.blend, BLENDS),
            ("compress", self.compress, map_writer.COMPRESSIONS),
            ("mosaic", self.mosaic, ("", *RULES)),
        ):
            if value not in known:
                raise InputError(f"--{name}={value}: expected one of {', '.join(filter(None, known))}")
        sieve.check(self.sieve)
        if self.conformal:
            percent(self.conformal)
            if not self.calibrated:
                raise InputError(f"--conformal={self.conformal:g} with {OFF}: its thresholds are of calibrated answers")
            if classes > map_writer.MOST_IN_SETS:
                raise InputError(
                    f"--conformal={self.conformal:g}: found {classes} classes; expected at most "
                    f"{map_writer.MOST_IN_SETS}, a bit each; take --probabilities instead"
                )
        return overlap
