"""The time of a scene is found where products tell it; what cannot be a time is none."""

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.schema.errors import InputError
from lcjax.mapping import acquisition
from lcjax.mapping.acquisition import parse_date


@pytest.mark.parametrize(
    ("tags", "name", "expected"),
    [
        # As GDAL's drivers give them: IMAGERY domain, SENTINEL2, SAFE.
        ({"ACQUISITIONDATETIME": "2016-05-04 10:50:31"}, "x.tif", "2016-05-04T10:50:31"),
        ({"DATATAKE_1_DATATAKE_SENSING_START": "2020-08-23T10:15:59.024Z"}, "x.tif", "2020-08-23T10:15:59.024000"),
        ({"PRODUCT_START_TIME": "2020-08-23T10:15:59.024Z"}, "x.tif", "2020-08-23T10:15:59.024000"),
        ({"ACQUISITION_START_TIME": "2018-01-02T03:04:05.5"}, "x.tif", "2018-01-02T03:04:05.500000"),
        ({"DATE_ACQUIRED": "2019-07-01"}, "x.tif", "2019-07-01T00:00:00"),
        ({"TIFFTAG_DATETIME": "2020:08:23 10:15:59"}, "x.tif", "2020-08-23T10:15:59"),
        # Names: Sentinel-2 (the first is the sensing start), Sentinel-1, Landsat, Planet, people.
        ({}, "S2A_MSIL2A_20200715T100031_N0214_R122_T33UUP_20200715T130722.tif", "2020-07-15T10:00:31"),
        ({}, "S1B_IW_GRDH_1SDV_20200714T052622_20200714T052647_022466.tif", "2020-07-14T05:26:22"),
        ({}, "LC08_L1TP_195025_20200715_20200722_02_T1.tif", "2020-07-15T00:00:00"),
        ({}, "20200715_100031_1005_3B_AnalyticMS.tif", "2020-07-15T10:00:31"),
        ({}, "town_2020-07-15.tif", "2020-07-15T00:00:00"),
        ({}, "flight_20200715_990017.tif", "2020-07-15T00:00:00"),
        # What names the acquisition comes before the name, and the name before the time of the file.
        ({"PRODUCT_START_TIME": "2020-08-23T10:15:59Z"}, "made_20210101.tif", "2020-08-23T10:15:59"),
        ({"TIFFTAG_DATETIME": "2021:01:01 00:00:00"}, "flight_20200823.tif", "2020-08-23T00:00:00"),
        # Of several times in one tag the first; other spellings of tag and time.
        (
            {"SENSING_TIME": "2021-09-05T14:31:56.9300799Z; 2021-09-05T14:32:20.8126470Z"},
            "HLS.L30.T22VEQ.2021248T143156.v2.0.tif",
            "2021-09-05T14:31:56.930079",
        ),
        ({"SENSING_TIME": "2021-09-05T14:31:56Z/2021-09-05T14:32:20Z"}, "x.tif", "2021-09-05T14:31:56"),
        ({"ACQUISITION_DATE": "2021-08-27", "TIFFTAG_DATETIME": "2022:01:05 10:00:00"}, "x", "2021-08-27T00:00:00"),
        ({"ACQUISITION_DATE": "2021/08/27", "ACQUISITION_TIME": "10:15:30"}, "x.tif", "2021-08-27T10:15:30"),
        ({"acquisition_time": "2021-08-27T10:15:30+02:00"}, "x.tif", "2021-08-27T08:15:30"),
        (
            {"DATE_ACQUIRED": "2019-07-01", "SCENE_CENTER_TIME": '"10:05:12.1234560Z"'},
            "x",
            "2019-07-01T10:05:12.123456",
        ),
        ({"RANGEBEGINNINGDATE": "2021-09-05", "RANGEBEGINNINGTIME": "00:05:00"}, "x.hdf", "2021-09-05T00:05:00"),
        ({"NC_GLOBAL#time_coverage_start": "2021-09-05T00:05:00.5Z"}, "x.tif", "2021-09-05T00:05:00.500000"),
        ({"system:time_start": "1630850400000"}, "x.tif", "2021-09-05T14:00:00"),
        ({"system:time_start": "1612310400000"}, "x.tif", "2021-02-03T00:00:00"),  # 1612, day 310?
        ({"datetime": "2021-09-05T14:31:56Z"}, "x.tif", "2021-09-05T14:31:56"),
        (
            {"EXIF_DateTimeOriginal": "2021:08:27 10:11:12", "EXIF_DateTime": "2022:01:01 00:00:00"},
            "x.jpg",
            "2021-08-27T10:11:12",
        ),
        ({"SENSING_START": "27-AUG-2021 10:11:12.5"}, "x.tif", "2021-08-27T10:11:12.500000"),
        ({"ACQUIRED": "2021248T143156"}, "x.tif", "2021-09-05T14:31:56"),
        ({"ACQUIRED": "2020-366"}, "x.tif", "2020-12-31T00:00:00"),
        # Names with the day of the year: HLS, MODIS, Landsat before 2016.
        ({}, "HLS.L30.T22VEQ.2021248T143156.v2.0.tif", "2021-09-05T14:31:56"),
        ({}, "MOD09GA.A2021248.h18v04.061.2021250031432.hdf", "2021-09-05T00:00:00"),
        ({}, "LC81950252021248LGN00_B4.TIF", "2021-09-05T00:00:00"),
        ({}, "x_20210905143156.tif", "2021-09-05T14:31:56"),
        # Placeholders are passed over, and so is what programs note of themselves.
        ({"ACQUIRED": "0001-01-01T00:00:00+14:00"}, "x_20210905.tif", "2021-09-05T00:00:00"),
        ({"ACQUIRED": "9999-12-31T23:59:59-14:00"}, "x.tif", None),
        ({"ACQUIRED": "1970-01-01T00:00:00Z", "DATETIME": "2021-09-05"}, "x.tif", "2021-09-05T00:00:00"),
        ({"ACQUIRED": "1944-06-06"}, "x.tif", "1944-06-06T00:00:00"),
        ({"PROCESSING_START_TIME": "2021-09-05", "PRODUCTION_DATE_TIME": "2021-09-05"}, "x.tif", None),
        ({}, "tile_20991231.tif", None),
        ({}, "a2021248b.tif", None),
        ({}, "x_2021366.tif", None),
        ({"ACQUIRED": "7" * 100_000, "A_" * 100_000: "2021-09-05"}, "x.tif", None),
        # Not dates, or none that can be read.
        ({}, "tile_20201345.tif", None),
        ({}, "area_1202008231.tif", None),
        ({"TIFFTAG_DATETIME": "yesterday", "PROCESSING_TIME": "2020-08-23"}, "x.tif", None),
        ({"PRODUCT_START_TIME": ""}, "x.tif", None),
    ],
)
def test_told(tags, name, expected):
    found = acquisition.told(tags, name)
    assert (found and found[0]) == (expected and datetime.datetime.fromisoformat(expected + "+00:00"))


def test_what_tells_it():
    tags = {"TIFFTAG_DATETIME": "2020:08:23 10:15:59"}
    assert acquisition.told(tags, "x.tif")[1] in acquisition.FILE_TIMES
    assert acquisition.told(tags, "20200823.tif")[1] == acquisition.NAME
    assert acquisition.told(tags | {"Acquired": "2020-08-23"}, "20200823.tif")[1] == "Acquired"


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.datetimes(datetime.datetime(1858, 1, 2), datetime.datetime(2024, 1, 1)).map(lambda t: t.replace(microsecond=0)),
    st.sampled_from(["%Y-%m-%dT%H:%M:%SZ", "%Y%m%dT%H%M%S", "%Y:%m:%d %H:%M:%S", "%Y%jT%H%M%S", "%d-%b-%Y %H:%M:%S"]),
    st.sampled_from(["", "; 2025-01-01T00:00:00Z", " to 2025", "/.."]),
)
def test_every_time_is_read_as_it_was_written(time, spelling, after):
    time = time.replace(tzinfo=datetime.UTC)
    tags = {"SENSING_TIME": time.strftime(spelling) + after}
    expected = None if time == datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) else (time, "SENSING_TIME")
    assert acquisition.told(tags, "") == expected


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.text("0123456789-:./TZ+ Aa\n\x00é", max_size=40), st.text("0123456789-_.TA", max_size=40))
def test_whatever_stands_there_is_a_time_or_none(text, name):
    found = acquisition.told({"ACQUIRED": text, "SCENE_CENTER_TIME": text, "TIFFTAG_DATETIME": text}, name)
    assert found is None or found[0].utcoffset() == datetime.timedelta(0)


@pytest.mark.parametrize(
    "text", ["0001-01-01", "9999-12-31", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00+14:00", "1400-01-01"]
)
def test_dates_of_no_image_are_refused_in_one_line(text):
    with pytest.raises(
        InputError, match=r"^--date=.*: expected when the scene was taken, from 1858 until now"
    ) as caught:
        parse_date(text)
    assert "\n" not in str(caught.value)


def test_dates_are_utc():
    assert parse_date("2020-08-23T12:00+02:00") == datetime.datetime(2020, 8, 23, 10, tzinfo=datetime.UTC)
    assert parse_date("1944-06-06") == datetime.datetime(1944, 6, 6, tzinfo=datetime.UTC)
