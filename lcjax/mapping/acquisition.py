"""When a scene was taken, as its tags or its name tell."""

import datetime
import re
from collections.abc import Iterator, Mapping

from data_pipelines.schema.errors import InputError

NAME = "name"
FILE_TIMES = ("TIFFTAG_DATETIME", "EXIF_DateTime")  # tags of when a file was made or changed
_LONGEST = 200  # letters of a tag, or its name, that are looked at
EARLIEST = datetime.datetime(1858, 1, 1, tzinfo=datetime.UTC)  # the first photograph from the air
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)  # what programs write that know no time
_DAY = datetime.timedelta(days=1)

# Tags with the time of acquisition, as products and GDAL's drivers write them, the more telling first; and those that
# hold the time of day, where the tag itself holds the day alone. Names are compared in lower case, with _ for any sign
# that is no letter or digit.
_TAGS: tuple[tuple[str, str], ...] = (
    ("acquisition_?date_?time", ""),
    ("(.*_)?datatake.*sensing_start", ""),
    ("(.*_)?sensing_(start|time|date)(_.*)?", ""),
    ("(.*_)?time_coverage_start", ""),
    ("(.*_)?acquisition_?(start_?)?(date|time)(_utc)?", "acquisition_?(start_?)?time(_utc)?"),
    ("(.*_)?date_?acquired", "(.*_)?scene_?cent(er|re)_?time"),
    ("(.*_)?acquired(_at)?", ""),
    ("(.*_)?rangebeginningdate", "(.*_)?rangebeginningtime"),
    ("(.*_)?start_?(date_?)?time", ""),
    ("(.*_)?(system_)?time_start", ""),
    ("(stac_)?datetime", ""),
    ("exif_datetimeoriginal", ""),
)
_NOT_OF_THE_SCENE = re.compile(".*(process|produc(tion|ed)|generat|creat|ingest|archiv|publi).*")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK = r"(?:[T _:]?\s*(?P<clock>\d\d:?\d\d(?::?\d\d(?:\.\d+)?)?)\s*(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?)?"
_END = r"(?![\d:])"
_TEXT = tuple(
    re.compile(day + _CLOCK + _END, re.IGNORECASE)
    for day in (
        r"(?P<year>\d{4})(?P<sign>[-:/.]?)(?P<month>\d\d)(?P=sign)(?P<day>\d\d)",
        r"(?P<year>\d{4})-?(?P<of_year>\d{3})",
        r"(?P<day>\d\d)[- ](?P<named>[A-Z]{3})[- ](?P<year>\d{4})",  # as ENVISAT and RADARSAT write it
    )
)
_IN_NAME = re.compile(
    r"(?<!\d)(?P<date>(?:19|20)\d\d(-?)\d\d\2\d\d(?:[T_]?\d\d[-:]?\d\d[-:]?\d\d)?)(?!\d)"
    r"|(?<![0-9A-Za-z])A?(?P<of_year>(?:19|20)\d\d[0-3]\d\d(?:T?\d{6})?)(?![0-9A-Za-z])"
)
_OLD_LANDSAT = re.compile(r"L[COTEM]\d{7}((?:19|20)\d\d[0-3]\d\d)(?=[A-Z]{3}\d\d)")  # LC81950252021248LGN00


def told(tags: Mapping[str, str], name: str) -> tuple[datetime.datetime, str] | None:
    """Returns when a scene was taken, in UTC, and what tells it, or None where neither tags nor name do.

    The sources in order: tags that name the acquisition (ACQUISITIONDATETIME, SENSING_TIME, DATE_ACQUIRED and the
    like; of several times in one the first), the first date in the file's name (20200823T101559, 20200823, 2020-08-23,
    or year and day of the year, 2020236), and TIFFTAG_DATETIME, which by its standard is when the file was made. Times
    before 1858 or after today, and the start of 1970, are placeholders and are passed over.

    Args:
      tags: of the file and of its bands.
      name: of the file.

    Returns:
      The time, and the name of a tag or "name".
    """
    return next(_all(tags, name), None)


def check_time(time: datetime.datetime, what: str = "--date") -> datetime.datetime:
    """Checks a time of acquisition, and returns it in UTC; without a time zone it is taken as UTC.

    Raises:
      InputError: there were no such images yet, or it lies in the future.
    """
    if _plausible(time):
        return _utc(time)
    raise InputError(
        f"{what}={time.isoformat()}: expected when the scene was taken, from {EARLIEST.year} until now, e.g. 2020-08-23"
    )


def parse_date(text: str | None, what: str = "--date") -> datetime.datetime | None:
    """Parses a date or a time in ISO 8601, in UTC where it names no zone; None where there is none.

    Args:
      text: as it was given.
      what: gave it, for messages.

    Raises:
      InputError: the text is neither, or no image can be of that time.
    """
    if text is None:
        return None
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{what}={text}: expected e.g. 2020-08-23 or 2020-08-23T10:15:00Z") from error
    return check_time(time, what)


def _all(tags: Mapping[str, str], name: str) -> Iterator[tuple[datetime.datetime, str]]:
    """Yields each time that is told, and what tells it, the most trusted first."""
    named = {key: re.sub("[^a-z0-9]+", "_", key.lower()) for key in tags if len(key) <= _LONGEST}
    for pattern, of_clock in _TAGS:
        for key, plain in named.items():
            if not re.fullmatch(pattern, plain) or _NOT_OF_THE_SCENE.fullmatch(plain):
                continue
            clocks = [tags[other] for other, its in named.items() if of_clock and re.fullmatch(of_clock, its)]
            yield from ((time, key) for time in _times(tags[key], *clocks))
    dates = [found["date"] or found["of_year"] for found in _IN_NAME.finditer(name)]
    for text in (*_OLD_LANDSAT.findall(name), *dates):
        yield from ((time, NAME) for time in _times(text))
    for key in FILE_TIMES:
        yield from ((time, key) for time in _times(tags.get(key, "")))


def _times(text: str, *clocks: str) -> Iterator[datetime.datetime]:
    """Yields the time that a text begins with, if any; `clocks` may tell the time of a day."""
    text, *others = (one[:_LONGEST].strip().lstrip("\"'[( ") for one in (text, *clocks))
    joined = [f"{text}T{clock}" for clock in others if re.match(r"\d\d:\d\d", clock)]
    for parse in (_parse, _milliseconds):
        for one in (*joined, text):
            time = parse(one)
            if time and _plausible(time) and time != _EPOCH:
                yield _utc(time)
                return


def _parse(text: str) -> datetime.datetime | None:
    """The time that a text begins with, whatever follows."""
    for pattern in _TEXT:
        if not (found := pattern.match(text)):
            continue
        parts = found.groupdict()
        day = _day(parts)
        clock = _clock(parts["clock"] or "", parts["zone"] or "")
        if day:  # the digits after a date need not be a time
            return datetime.datetime.combine(day, clock or datetime.time(tzinfo=datetime.UTC))
    return None


def _day(parts: Mapping[str, str | None]) -> datetime.date | None:
    year, month = int(parts["year"] or 0), parts.get("month")
    if named := parts.get("named"):
        month = str(_MONTHS.index(named.lower()) + 1) if named.lower() in _MONTHS else "0"
    try:
        if of_year := parts.get("of_year"):
            day = datetime.date(year, 1, 1) + (int(of_year) - 1) * _DAY
            return day if day.year == year else None
        return datetime.date(year, int(month or 0), int(parts["day"] or 0))
    except (ValueError, OverflowError):
        return None


def _clock(text: str, zone: str) -> datetime.time | None:
    if not text:
        return None
    zone = "+00:00" if zone.upper() in ("", "Z", "UTC", "GMT") else zone
    whole, point, fraction = text.partition(".")
    try:
        return datetime.time.fromisoformat(whole + point + fraction[:6].ljust(6 * len(point), "0") + zone)
    except ValueError:
        return None


def _milliseconds(text: str) -> datetime.datetime | None:
    """Earth Engine tells times as milliseconds since 1970."""
    if not re.fullmatch(r"-?\d{11,14}(\.0*)?", text):
        return None
    return _EPOCH + datetime.timedelta(milliseconds=float(text))


def _plausible(time: datetime.datetime) -> bool:
    try:
        return EARLIEST <= _utc(time) <= datetime.datetime.now(datetime.UTC) + _DAY
    except OverflowError:  # in the years 1 and 9999, a zone away from UTC
        return False


def _utc(time: datetime.datetime) -> datetime.datetime:
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)
