"""Random draws and random fields that are the same for every version of numpy.

Only the raw 64-bit words of a bit generator are drawn, because numpy promises those (and SeedSequence) never to change,
while the streams of its distributions may. All arithmetic is float64, so what FFT, exp or log do differently from one
machine to the next is some 1e-15 of a value, and everything that leaves this package is rounded to steps of 1e-4 or
coarser of its range: a rounding flips about once in 1e11 pixels.
"""

import functools

import numpy as np
from scipy import ndimage


class Draws:
    """A stream of random numbers named by a tuple of non-negative integers."""

    def __init__(self, *key: int):
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(self, low: float = 0.0, high: float = 1.0, shape: int | tuple[int, ...] = ()) -> np.ndarray:
        """Uniform in [low, high), float64, with 53 random bits."""
        words = np.asarray(self._bits.random_raw(shape or None), np.uint64)
        return low + (high - low) * ((words >> np.uint64(11)).astype(np.float64) * 2.0**-53)

    def number(self, low: float, high: float) -> float:
        """One uniform number in [low, high)."""
        return float(self.uniform(low, high))

    def whole(self, low: int, high: int, shape: int | tuple[int, ...] = ()) -> np.ndarray:
        """Whole numbers in [low, high), int64."""
        return np.floor(self.uniform(low, high, shape)).astype(np.int64)

    def normal(self, shape: int | tuple[int, ...] = ()) -> np.ndarray:
        """Nearly normal, mean 0, deviation 1, within 3.47: the sum of the four 16-bit parts of one word, float64."""
        words = np.asarray(self._bits.random_raw(int(np.prod(shape, dtype=int))), np.uint64)
        low = np.uint64(0xFFFF)
        total = sum(((words >> np.uint64(shift)) & low for shift in (0, 16, 32, 48)), np.zeros_like(words))
        return ((total.astype(np.float64) - 2.0 * 65535.0) / (65536.0 / np.sqrt(3.0))).reshape(shape)

    def gamma(self, looks: int, shape: tuple[int, ...]) -> np.ndarray:
        """Gamma with whole shape `looks` and mean 1: what speckle of `looks` independent looks multiplies power by."""
        product = np.prod(1.0 - self.uniform(shape=(looks, *shape)), axis=0)
        return -np.log(product) / looks


def fractal(draws: Draws, size: int, exponent: float, largest: float = 0.0) -> np.ndarray:
    """A random field with power spectrum frequency**-exponent, (size, size), mean 0 and deviation 1.

    Features larger than `largest` pixels are damped (0: none are). Cut out of a larger periodic field, so that
    opposite edges do not match.
    """
    period = size + size // 4
    spectrum = np.fft.rfft2(draws.normal((period, period))) * _amplitude(period, exponent, largest)
    field = np.fft.irfft2(spectrum, s=(period, period))[:size, :size]
    return (field - field.mean()) / field.std()


@functools.lru_cache(maxsize=32)
def _amplitude(period: int, exponent: float, largest: float) -> np.ndarray:
    frequency = np.hypot(np.fft.fftfreq(period)[:, None], np.fft.rfftfreq(period)[None, :])
    frequency[0, 0] = np.inf  # no constant part
    knee = 1.0 / largest if largest else 0.0
    return (frequency**2 + knee**2) ** (-exponent / 4.0)


def smooth(field: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of the first two axes, deviation in pixels."""
    return ndimage.gaussian_filter(field, (sigma, sigma) + (0,) * (field.ndim - 2), mode="nearest")


def rank(field: np.ndarray) -> np.ndarray:
    """The share of pixels below each pixel, 0..1."""
    order = np.empty(field.size)
    order[np.argsort(field, axis=None, kind="stable")] = np.arange(field.size) / (field.size - 1)
    return order.reshape(field.shape)
